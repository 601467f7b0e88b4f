"""Find a hole of zero bytes in a JPEG, which decoders read over in silence: half of the picture is then noise or grey.

Copies that were broken off and failing disks leave such holes (blocks of 512 bytes and more).
"""

import struct

HOLE = bytes(64)  # that is more than two blocks of 8 x 8 pixels whose 63 waves all have one height
HUFFMAN_TABLES, START_OF_SCAN, END = 0xC4, 0xDA, b"\xff\xd9"
END_OF_BLOCK = 0x00


def hole(content: bytes) -> int | None:
    """Return where a hole of zero bytes begins in the coded data, or None where none is certain.

    In a Huffman table the code of zeros alone belongs to the first symbol. Where that is "end of block", zeros can
    stand for an even surface, so nothing is said; nor of progressive files, whose refinements are plain bits.
    """
    place, first_symbol = 2, END_OF_BLOCK
    while place + 4 <= len(content) and content[place] == 0xFF:
        marker, length = content[place + 1], struct.unpack(">H", content[place + 2 : place + 4])[0]
        if 0xC0 < marker <= 0xCF and marker not in (HUFFMAN_TABLES, 0xC8, 0xCC, 0xC1):
            return None
        if marker == HUFFMAN_TABLES:
            first_symbol = _first_symbol(content[place + 4 : place + 2 + length], first_symbol)
        place += 2 + length
        if marker == START_OF_SCAN:
            end = content.find(END, place)
            found = content.find(HOLE, place, len(content) if end < 0 else end)
            return found if found >= 0 and first_symbol != END_OF_BLOCK else None
    return None


def _first_symbol(tables: bytes, known: int) -> int:
    """Return the first symbol of the first AC table of a segment, or what was known before."""
    while len(tables) > 17:
        size = sum(tables[1:17])
        if tables[0] == 0x10:  # class AC, number 0: of the brightness
            return tables[17]
        tables = tables[17 + size :]
    return known
