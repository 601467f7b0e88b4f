// The box of the answer: dragged and resized with mouse, finger or keyboard. Pixels of the frame, in data-box.
(() => {
  const LEAST = 24;
  let drag = null;
  const size = (box) => box.parentElement.dataset.size.split(",").map(Number);
  const edges = (box) => box.dataset.box.split(",").map(Number);

  function draw(box, [x0, y0, x1, y1]) {
    const [width, height] = size(box), percent = (part, whole) => `${(100 * part) / whole}%`;
    [x0, y0, x1, y1] = [x0, y0, x1, y1].map(Math.round);
    box.dataset.box = [x0, y0, x1, y1].join();
    Object.assign(box.style, {
      left: percent(x0, width), top: percent(y0, height),
      width: percent(x1 - x0, width), height: percent(y1 - y0, height),
    });
    box.classList.toggle("whole", x1 - x0 === width && y1 - y0 === height);
    box.closest("figure").querySelector("output").textContent =
      `Box: ${x1 - x0} × ${y1 - y0} pixels, from ${x0}, ${y0}`;
  }

  // Move the edges that a corner names, or all of them, by so many pixels, and stay inside the frame.
  function change(box, start, dx, dy, corner) {
    const [width, height] = size(box), clamp = (value, low, high) => Math.max(low, Math.min(high, value));
    let [x0, y0, x1, y1] = start;
    if (!corner) {
      dx = clamp(dx, -x0, width - x1);
      dy = clamp(dy, -y0, height - y1);
      return draw(box, [x0 + dx, y0 + dy, x1 + dx, y1 + dy]);
    }
    if (corner.includes("w")) x0 = clamp(x0 + dx, 0, x1 - LEAST);
    if (corner.includes("e")) x1 = clamp(x1 + dx, x0 + LEAST, width);
    if (corner.includes("n")) y0 = clamp(y0 + dy, 0, y1 - LEAST);
    if (corner.includes("s")) y1 = clamp(y1 + dy, y0 + LEAST, height);
    draw(box, [x0, y0, x1, y1]);
  }

  document.addEventListener("pointerdown", (event) => {
    const stack = event.target.closest?.(".stack[data-size]"), box = stack?.querySelector(".box");
    if (!box || event.button || event.target.closest(".choice")) return;
    const corner = event.target.dataset.corner, inside = event.target.closest(".box");
    const fresh = !corner && (!inside || box.classList.contains("whole"));
    if (fresh && event.pointerType === "touch") return; // a finger there scrolls the page
    const shown = stack.getBoundingClientRect(), scale = size(box)[0] / shown.width;
    const at = [(event.clientX - shown.left) * scale, (event.clientY - shown.top) * scale];
    drag = { box, corner, fresh, scale, x: event.clientX, y: event.clientY, at, start: edges(box) };
    event.preventDefault();
    box.focus({ preventScroll: true });
  });
  document.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const dx = (event.clientX - drag.x) * drag.scale, dy = (event.clientY - drag.y) * drag.scale;
    if (!drag.fresh) return change(drag.box, drag.start, dx, dy, drag.corner);
    if (Math.min(Math.abs(dx), Math.abs(dy)) < LEAST) return; // not yet a box
    const [width, height] = size(drag.box), [x, y] = drag.at;
    const across = [x, x + dx].sort((a, b) => a - b), down = [y, y + dy].sort((a, b) => a - b);
    draw(drag.box, [Math.max(0, across[0]), Math.max(0, down[0]), Math.min(width, across[1]), Math.min(height, down[1])]);
  });
  for (const name of ["pointerup", "pointercancel"]) document.addEventListener(name, () => (drag = null));

  document.addEventListener("keydown", (event) => {
    const box = event.target.closest?.(".box"), step = 0.02 * (box ? size(box)[0] : 0);
    const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
    if (!box || !by) return;
    event.preventDefault();
    change(box, edges(box), ...by, event.shiftKey ? "se" : "");
  });
  document.addEventListener("click", (event) => {
    const choice = event.target.closest?.(".choice");
    if (!choice) return;
    draw(choice.parentElement.querySelector(".box"), choice.dataset.choice.split(",").map(Number));
    document.querySelector("#ask").click();
  });
  window.pcosBox = () => document.querySelector("#outlines .box")?.dataset.box ?? "";
})();
