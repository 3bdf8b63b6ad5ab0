// The map beside the tiles: drawing, pointing, and regions whose images fill the grid.
import { remember, recall } from "../store.js";
import { Camera } from "./camera.js";
import { Card } from "./card.js";
import { Gestures, circleCorners } from "./gestures.js";
import { Marks } from "./marks.js";
import { smallestAround } from "./outlines.js";
import { Points } from "./points.js";
import { LABELED, Raster } from "./raster.js";
import { initializeSaving } from "./save.js";
import { say, toast } from "../toast.js";
import { counted } from "../plural.js";

const REST = 180; // ms without a move before thumbnails are shown
const HOVER_TOLERANCE = 10; // px from the pointer to a hovered point
const CLICK_TOLERANCE = 3; // px from a point's disc to a click on it
const POINT_ZOOM = 3; // the zoom factor from which a click on a point inside an outline selects the point
const SHOW_ZOOM = 6; // the zoom factor of "show on map"
const MAX_CORNERS = 200; // of a region
const CLUSTER_DELAY = 3000; // ms after the last label before the clusters are loaded again
const MAX_COORDINATE = 65534;

const view = document.getElementById("map");
const canvas = document.getElementById("map-points");
const by = document.getElementById("map-by");
const { dataset } = view; // the URLs of the map

const camera = new Camera();
const raster = new Raster(canvas);
const points = new Points({ urls: { points: dataset.points, colors: dataset.colors, changes: dataset.changes, legend: dataset.legend }, raster, slot: document.getElementById("map-legend-slot") });
const marks = new Marks({ view, camera });
const gestures = new Gestures({ view, camera });
let isLoaded = false; // the points are loaded
let isPainted = false; // their colors are up to date
let frame = null;
let restTimer = null;
let clusters = [];
let region = null; // the shown region, as in the URL
let highlighted = null; // the id of the outline under the pointer

// -- Drawing ------------------------------------------------------------------------------------
function draw() {
  view.dataset.drawn = "false";
  frame ??= requestAnimationFrame(() => {
    frame = null;
    if (!isLoaded) return;
    if (!isPainted) updateColors();
    const ratio = canvas.width / camera.width;
    raster.draw({ x: camera.x, y: camera.y, scale: camera.scale * ratio, radius: camera.radius * ratio });
    marks.draw();
    card.place();
    view.dataset.drawn = "true";
  });
}

// Update the colors in the next frame.
function paint() {
  isPainted = false;
  draw();
}

function updateColors() {
  isPainted = true;
  const { color, backgroundColor } = getComputedStyle(view);
  points.paint({ none: channels(color), background: channels(backgroundColor) });
}

// Return the [r, g, b] of a CSS color in any notation.
function channels(color) {
  const { context } = channels;
  context.fillStyle = color;
  context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}
channels.context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });

function resize() {
  const { width, height } = view.getBoundingClientRect();
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
  camera.resize(width, height);
  draw();
}

function handleMove() {
  draw();
  if (!card.isPinned) card.hide();
  clearTimeout(restTimer);
  restTimer = setTimeout(handleRest, REST);
}

async function handleRest() {
  const { left, right, bottom, top } = inView();
  const rows = [...raster.within(left, right, bottom, top).slice(0, marks.maxThumbs + 1)];
  const timer = restTimer;
  await marks.showThumbs(rows.map((row) => ({ row, point: raster.pointOf(row) })), async (missing) => {
    const answer = await request(`${dataset.thumbs}?rows=${missing.join(",")}`, "json");
    return restTimer === timer ? (answer?.thumbs ?? {}) : null;
  }, (row) => raster.cssColor(row));
  announceCrosshair();
}

function inView() {
  const [low, high] = [camera.toMap({ left: 0, top: camera.height }), camera.toMap({ left: camera.width, top: 0 })];
  return { left: low.x, right: high.x, bottom: low.y, top: high.y };
}

// Return the body of a response as `kind` ("json" or "text"), or null.
async function request(url, kind) {
  try {
    const response = await fetch(url, { credentials: "same-origin", headers: { "HX-Request": "true" } });
    return response.ok ? await response[kind]() : null;
  } catch (error) {
    console.info("The map's data could not be loaded.", error);
    return null;
  }
}

// -- Pointing -----------------------------------------------------------------------------------
const card = new Card({
  element: document.getElementById("map-card"), camera,
  load: (row) => request(`${dataset.at}?row=${row}`, "text"),
  pointOf: (row) => raster.pointOf(row),
  onMark: (point) => marks.setHovered(point),
  clusterOf(row) {
    const cluster = smallestAround(clusters, raster.pointOf(row));
    return cluster && { text: summaryOf(cluster), show: () => openRegion(cluster.region) };
  },
});

function rowAt(position) {
  return raster.nearest(camera.toMap(position), (camera.radius + HOVER_TOLERANCE) / camera.scale);
}

gestures.addEventListener("hover", ({ detail: position }) => {
  const row = position ? rowAt(position) : null;
  highlightAt(position);
  if (row === null ? !card.isPinned : row !== card.row) card.mark(row, { pointer: position });
});

// Return the cluster or gap that a click at a position selects: the one whose outline or caption is there, else the
// smallest one around it. Return null inside the shown region, and on a point when zoomed in, where the point is selected.
function clusterAt(position) {
  const marked = position.target?.closest?.("[data-cluster]");
  if (marked) return clusters.find((cluster) => cluster.id === marked.dataset.cluster) ?? null;
  const cluster = smallestAround(clusters, camera.toMap(position));
  if (!cluster || cluster.region === region) return null;
  const isOnPoint = camera.zoomFactor >= POINT_ZOOM && raster.nearest(camera.toMap(position), (camera.radius + CLICK_TOLERANCE) / camera.scale) !== null;
  return isOnPoint ? null : cluster;
}

// Highlight the outline that a click would select.
function highlightAt(position) {
  const id = (position && clusterAt(position)?.id) ?? null;
  if (id === highlighted) return;
  highlighted = id;
  marks.highlight(id);
  view.classList.toggle("on-cluster", id !== null);
}

// A click selects the cluster around it. Elsewhere it focuses the tile of the point, or pins the point's card. A finger cannot
// hover: the first tap on a point shows its card, a second one is a click.
gestures.addEventListener("click", ({ detail: position }) => {
  const row = rowAt(position);
  const isOnMark = position.target?.closest?.("[data-cluster]");
  if (position.isTouch && row !== null && row !== card.row && !isOnMark) return card.mark(row, { pin: true, pointer: position });
  const cluster = clusterAt(position);
  if (cluster) return openRegion(cluster.region);
  if (row === null) return card.hide();
  const tile = tileOf(row);
  if (tile) return tile.click();
  card.mark(row, { pin: true, pointer: position });
});

function tileOf(row) {
  return document.querySelector(`#grid .tile[data-row="${row}"]`);
}

// -- Regions ------------------------------------------------------------------------------------
gestures.addEventListener("draw", ({ detail: positions }) => marks.setDrawing(positions));
gestures.addEventListener("drawn", ({ detail: positions }) => {
  selectInside(mapCorners(positions));
  setTool("move");
});
gestures.addEventListener("select", () => selectInside(mapCorners(circleCorners(gestures.crosshair))));

// Convert positions on the screen to corners on the map.
function mapCorners(positions) {
  return positions.map((position) => camera.toMap(position)).map(({ x, y }) => [x, y]);
}

// Show the images inside the corners in the grid.
function selectInside(corners) {
  const rounded = thinOut(corners).map(([x, y]) => [toCoordinate(x), toCoordinate(y)]);
  if (rounded.length < 3 || !raster.inside(rounded).length) return toast("There are no images in this region. Draw around some points.");
  openRegion(rounded.map(([x, y]) => `${x}-${y}`).join("_"));
}

// Limit the current queue to a region.
function openRegion(text) {
  document.body.dispatchEvent(new CustomEvent("hoshina:query", { detail: { set: { map: dataset.map, region: text } } }));
}

function toCoordinate(value) {
  return Math.max(0, Math.min(MAX_COORDINATE, Math.round(value)));
}

function thinOut(corners) {
  const step = Math.ceil(corners.length / MAX_CORNERS);
  return corners.filter((_, i) => i % step === 0);
}

// Show the region of the grid's query, also after Back and when the filter was removed elsewhere.
function showRegion(query) {
  const text = query.get("map") === dataset.map ? query.get("region") : null;
  const cluster = clusters.find((part) => part.region === text); // its outline may extend beyond the map
  const corners = text && /^\d+-\d+(_\d+-\d+)+$/.test(text) ? text.split("_").map((corner) => corner.split("-").map(Number)) : null;
  region = corners && text;
  const notice = document.getElementById("map-region");
  notice.hidden = !corners;
  if (corners) notice.querySelector("span").textContent = `${counted(raster.inside(corners).length, "image")} in the region`;
  marks.setRegion(cluster?.outline ?? corners); // after the notice, which captions leave free
  document.getElementById("map-close").search = `?${query}`;
}

function dropRegion() {
  document.body.dispatchEvent(new CustomEvent("hoshina:query", { detail: { set: { map: null, region: null } } }));
}

document.body.addEventListener("hoshina:query-changed", ({ detail }) => showRegion(detail.query));

// -- Tools and keys -----------------------------------------------------------------------------
function setTool(tool) {
  gestures.tool = tool;
  view.dataset.tool = tool;
  for (const button of document.querySelectorAll("[data-map-tool]")) button.setAttribute("aria-pressed", String(button.dataset.mapTool === tool));
}

document.getElementById("map-pane").addEventListener("click", (event) => {
  const tool = event.target.closest("[data-map-tool]");
  if (tool) setTool(tool.dataset.mapTool);
  const zoom = event.target.closest("[data-map-zoom]")?.dataset.mapZoom;
  if (zoom === "all") camera.fit();
  else if (zoom) camera.zoom(Number(zoom), gestures.crosshair ?? undefined);
  if (event.target.closest("[data-map-drop]")) dropRegion();
});

// The list of clusters: the hovered or focused entry is highlighted on the map; a click opens its region.
const list = document.getElementById("map-clusters-slot");
list.addEventListener("click", (event) => {
  const link = event.target.closest("[data-cluster]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  event.stopPropagation();
  list.closest("details").open = false;
  openRegion(link.dataset.region);
});
for (const name of ["pointerover", "focusin"]) list.addEventListener(name, (event) => marks.highlight(event.target.closest("[data-cluster]")?.dataset.cluster ?? null));
for (const name of ["pointerleave", "focusout"]) list.addEventListener(name, () => marks.highlight(null));

document.body.addEventListener("hoshina:map-tool", ({ detail }) => {
  setTool(gestures.tool === detail.tool ? "move" : detail.tool);
  card.hide();
  view.focus();
});

document.body.addEventListener("hoshina:map-show", ({ detail }) => show(detail.row));

function show(row) {
  const point = raster.pointOf(row);
  if (!point) return toast("This image is not on the map yet. New images are added after their embeddings are computed.");
  camera.show(point, SHOW_ZOOM);
  card.mark(row, { pin: true });
  view.focus();
}

gestures.addEventListener("leave", () => {
  card.hide();
  highlightAt(null);
  document.body.dispatchEvent(new CustomEvent("hoshina:focus-lost"));
});
gestures.addEventListener("crosshair", ({ detail }) => {
  marks.setCrosshair(detail);
  if (!detail) return;
  card.avoid(detail);
  clearTimeout(restTimer);
  restTimer = setTimeout(handleRest, REST);
});

// Announce the images in the crosshair's circle.
function announceCrosshair() {
  const { crosshair } = gestures;
  if (!crosshair) return;
  const rows = raster.inside(mapCorners(circleCorners(crosshair)));
  const nLabeled = rows.filter((row) => raster.stateOf(row) === LABELED).length;
  say(rows.length ? `${counted(rows.length, "image")} in the circle, ${nLabeled} labeled. Press Enter to show them.` : "No image in the circle.");
  const row = raster.nearest(camera.toMap(crosshair), crosshair.radius / camera.scale);
  card.mark(row, { pointer: crosshair });
  highlightAt(crosshair);
}

initializeSaving({ pane: document.getElementById("map-pane"), dataset, camera, raster, points, marks });

// -- The workbench ------------------------------------------------------------------------------
document.body.addEventListener("hoshina:decided", ({ detail }) => points.decide(detail.row, detail.state, detail.label));
document.body.addEventListener("hoshina:saved", () => {
  points.loadChanges();
  clearTimeout(loadClusters.timer);
  loadClusters.timer = setTimeout(loadClusters, CLUSTER_DELAY);
});

function markTiles() {
  const rows = [...document.querySelectorAll("#grid .tile")].map((tile) => Number(tile.dataset.row));
  marks.setDots(rows.map((row) => raster.pointOf(row)).filter(Boolean));
}

document.body.addEventListener("hoshina:page", markTiles);
document.body.addEventListener("hoshina:tile", ({ detail }) => marks.setFocused(detail.tile ? raster.pointOf(Number(detail.tile.dataset.row)) : null));

// -- Start --------------------------------------------------------------------------------------
by.addEventListener("change", async () => {
  remember(`map-by:${dataset.slug}`, by.value);
  await points.colorBy(by.value).catch(reportFailure);
});

function reportFailure(error) {
  console.info("The map could not be loaded.", error);
  toast("The map could not be loaded. Reload the page to try again.", "error");
}

async function loadClusters() {
  const answer = await request(dataset.clusters, "json");
  if (!answer) return;
  clusters = answer.clusters;
  captionClusters();
}

function captionClusters() {
  // Gaps come first, then large clusters: their captions are shown where captions would overlap.
  const parts = [...clusters].sort((a, b) => b.is_gap - a.is_gap || b.n - a.n);
  highlighted = null;
  marks.setClusters(parts.map((part) => ({ ...part, isGap: part.is_gap, ...captionOf(part) })));
}

document.body.addEventListener("hoshina:blind", captionClusters);

// Return the title and the facts of a cluster's or gap's caption.
function captionOf(cluster) {
  const { is_gap: isGap, name, n, labelled: progress, leading, evidence } = cluster;
  const [content, images] = [contentOf(cluster), counted(n, "image")];
  if (isGap) return { title: `Gap: ${progress}`, facts: content ? `${images}, ${content}` : images };
  if (!content) return { title: name, facts: `${images}, ${progress}` };
  return { title: leading, facts: evidence.includes(`of ${n.toLocaleString("en")} predicted`) ? evidence : `${evidence}, ${images}` };
}

function summaryOf(cluster) {
  return [cluster.name, contentOf(cluster) || cluster.labelled, counted(cluster.n, "image")].join(" · ");
}

// People who label blind do not see predictions.
function contentOf({ is_predicted: isPredicted, what }) {
  return isPredicted && document.body.classList.contains("blind") ? "" : what;
}

async function start() {
  const stored = recall(`map-by:${dataset.slug}`, "label");
  if ([...by.options].some(({ value }) => value === stored)) by.value = stored;
  new ResizeObserver(resize).observe(view);
  resize();
  const { bounds, n } = await points.load(by.value);
  isLoaded = true;
  camera.setBounds(bounds, n);
  paint();
  document.getElementById("map-wait").hidden = true;
  points.addEventListener("changed", paint);
  camera.addEventListener("moved", handleMove);
  showRegion(new URLSearchParams(location.search));
  markTiles();
  restTimer = setTimeout(handleRest, REST);
  if (dataset.row) show(Number(dataset.row));
  await loadClusters();
}

matchMedia("(prefers-color-scheme: light)").addEventListener("change", paint);
new MutationObserver(paint).observe(document.documentElement, { attributeFilter: ["data-theme"] });
start().catch(reportFailure);
