"""Keep apart the families of pictures, and join them (union-find; Tarjan 1975, doi:10.1145/321879.321884)."""


class Forest:
    """So many pictures, numbered from 0, each a family of its own at first."""

    def __init__(self, count: int):
        self.parent = list(range(count))
        self.size = [1] * count

    def root(self, number: int) -> int:
        """Return the number of the first picture of a picture's family."""
        while self.parent[number] != number:
            self.parent[number] = number = self.parent[self.parent[number]]
        return number

    def join(self, left: int, right: int) -> int | None:
        """Join the families of two pictures; return the first picture of the later one, or None if they were one."""
        first, last = sorted((self.root(left), self.root(right)))
        if first == last:
            return None
        self.parent[last] = first
        self.size[first] += self.size[last]
        return last
