// Two ways to draw the same picture: as an SVG document and on a canvas. Both have the methods rect, circle, polygon, text,
// image and clipped; lengths are in units of the picture.
export const FONT = "system-ui, 'Segoe UI', Helvetica, Arial, sans-serif";

export class SvgPaper {
  #parts = [];
  #nClips = 0;

  constructor({ width, height, title }) {
    Object.assign(this, { width, height, title });
  }

  rect({ left, top, width, height, fill = "none", stroke = "none" }) {
    this.#add("rect", { x: left, y: top, width, height, fill, stroke });
  }

  circle({ left, top, radius, fill = "none", stroke = "none", line = 1 }) {
    this.#add("circle", { cx: left, cy: top, r: radius, fill, stroke, "stroke-width": line });
  }

  // `dash`: the lengths of dashes and gaps, or null.
  polygon({ corners, stroke, line = 1, dash = null }) {
    const points = corners.map(({ left, top }) => `${round(left)},${round(top)}`).join(" ");
    this.#add("polygon", { points, fill: "none", stroke, "stroke-width": line, ...(dash && { "stroke-dasharray": dash.join(" ") }) });
  }

  // `top` is the baseline. `halo`: a color around the letters, or null.
  text({ left, top, text, size, weight = 400, fill, anchor = "start", halo = null }) {
    const around = halo && { stroke: halo, "stroke-width": size / 4, "stroke-linejoin": "round", "paint-order": "stroke" };
    this.#add("text", { x: left, y: top, "font-size": size, "font-weight": weight, fill, "text-anchor": anchor, ...around }, escaped(text));
  }

  // `canvas`: an OffscreenCanvas. Resolve when it is embedded.
  async image({ left, top, width, height, canvas }) {
    const url = await dataUrl(await canvas.convertToBlob({ type: "image/png" }));
    this.#add("image", { x: left, y: top, width, height, href: url });
  }

  async clipped({ left, top, width, height }, draw) {
    this.#nClips += 1;
    const id = `clip-${this.#nClips}`;
    this.#parts.push(`<clipPath id="${id}"><rect x="${round(left)}" y="${round(top)}" width="${round(width)}" height="${round(height)}"/></clipPath><g clip-path="url(#${id})">`);
    await draw();
    this.#parts.push("</g>");
  }

  async blob() {
    const { width, height, title } = this;
    const head = `<svg xmlns="http://www.w3.org/2000/svg" width="${round(width)}" height="${round(height)}" viewBox="0 0 ${round(width)} ${round(height)}" font-family="${escaped(FONT)}"><title>${escaped(title)}</title>`;
    return new Blob([`<?xml version="1.0" encoding="UTF-8"?>\n${head}\n${this.#parts.join("\n")}\n</svg>\n`], { type: "image/svg+xml" });
  }

  #add(name, attributes, content = "") {
    const text = Object.entries(attributes).map(([key, value]) => `${key}="${typeof value === "number" ? round(value) : escaped(value)}"`).join(" ");
    this.#parts.push(content ? `<${name} ${text}>${content}</${name}>` : `<${name} ${text}/>`);
  }
}

export class CanvasPaper {
  // `scale`: pixels per unit.
  constructor({ width, height, scale }) {
    this.canvas = new OffscreenCanvas(Math.round(width * scale), Math.round(height * scale));
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.context.scale(scale, scale);
  }

  rect({ left, top, width, height, fill = "none", stroke = "none" }) {
    const { context } = this;
    context.beginPath();
    context.rect(left, top, width, height);
    this.#paint({ fill, stroke });
  }

  circle({ left, top, radius, fill = "none", stroke = "none", line = 1 }) {
    this.context.beginPath();
    this.context.arc(left, top, radius, 0, 2 * Math.PI);
    this.#paint({ fill, stroke, line });
  }

  polygon({ corners, stroke, line = 1, dash = null }) {
    const { context } = this;
    context.beginPath();
    corners.forEach(({ left, top }) => context.lineTo(left, top));
    context.closePath();
    context.setLineDash(dash ?? []);
    this.#paint({ stroke, line });
    context.setLineDash([]);
  }

  text({ left, top, text, size, weight = 400, fill, anchor = "start", halo = null }) {
    const { context } = this;
    Object.assign(context, { font: `${weight} ${size}px ${FONT}`, textAlign: anchor === "middle" ? "center" : anchor, lineJoin: "round" });
    if (halo) {
      Object.assign(context, { strokeStyle: halo, lineWidth: size / 4 });
      context.strokeText(text, left, top);
    }
    context.fillStyle = fill;
    context.fillText(text, left, top);
  }

  async image({ left, top, width, height, canvas }) {
    this.context.drawImage(canvas, left, top, width, height);
  }

  async clipped({ left, top, width, height }, draw) {
    this.context.save();
    this.context.beginPath();
    this.context.rect(left, top, width, height);
    this.context.clip();
    await draw();
    this.context.restore();
  }

  blob() {
    return this.canvas.convertToBlob({ type: "image/png" });
  }

  #paint({ fill = "none", stroke = "none", line = 1 }) {
    const { context } = this;
    if (fill !== "none") {
      context.fillStyle = fill;
      context.fill();
    }
    if (stroke === "none") return;
    Object.assign(context, { strokeStyle: stroke, lineWidth: line });
    context.stroke();
  }
}

function round(value) {
  return Math.round(value * 100) / 100;
}

// Characters that XML does not allow are left out.
function escaped(text) {
  const entities = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return String(text).replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "").replace(/[&<>"]/g, (character) => entities[character]);
}

function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
