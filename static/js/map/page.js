// The map beside the tiles: what is drawn, what is pointed at, and regions that become the grid's images.
import { remember, recall } from "../store.js";
import { Camera } from "./camera.js";
import { Hand, circled } from "./gestures.js";
import { Marks } from "./marks.js";
import { smallestAround } from "./outlines.js";
import { Points } from "./points.js";
import { Raster } from "./raster.js";
import { say, toast } from "../toast.js";
import { counted } from "../plural.js";

const REST = 180; // ms without a move before thumbnails and words follow
const REACH = 10; // px around the pointer in which a point counts as pointed at
const HIT = 3; // px beside a point's disc at which a click is on the point
const NEAR = 3; // how much closer than the whole map: from there on, a click on a point inside an outline means the point
const CLOSE = 6; // how much closer "show on map" comes
const CORNERS = 200; // a region has no more
const FEW = 200; // points in view of which thumbnails are shown
const CALM = 3000; // ms without a label before the clusters are told anew
const LAST = 65534;

const grouped = new Intl.NumberFormat("en-GB");
const view = document.getElementById("map");
const canvas = document.getElementById("map-points");
const card = document.getElementById("map-card");
const by = document.getElementById("map-by");
const asks = view.dataset;

const camera = new Camera();
const raster = new Raster(canvas);
const points = new Points({ addresses: { points: asks.points, colours: asks.colours, changes: asks.changes, legend: asks.legend }, raster, slot: document.getElementById("map-legend-slot") });
const marks = new Marks({ view, camera });
const hand = new Hand({ view, camera });
let isDrawn = false; // the points came
let isPainted = false; // their colours are mixed
let frame = null;
let rest = null;
let clusters = [];
let region = null; // the shown region, as the address has it
let lit = null; // the id of the outline under the pointer

// -- Drawing ------------------------------------------------------------------------------------
function draw() {
  view.dataset.drawn = "false";
  frame ??= requestAnimationFrame(() => {
    frame = null;
    if (!isDrawn) return;
    if (!isPainted) mixColours();
    const ratio = canvas.width / camera.width;
    raster.draw({ x: camera.x, y: camera.y, scale: camera.scale * ratio, radius: camera.radius * ratio });
    marks.draw();
    if (!card.hidden) placeCard();
    view.dataset.drawn = "true";
  });
}

// Other colours, at the next frame.
function paint() {
  isPainted = false;
  draw();
}

function mixColours() {
  isPainted = true;
  const { color, backgroundColor } = getComputedStyle(view);
  points.paint({ none: channels(color), ground: channels(backgroundColor) });
}

// The channels of a colour, however the browser writes it.
function channels(colour) {
  const { context } = channels;
  context.fillStyle = colour;
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

function moved() {
  draw();
  if (!isPinned) hideCard();
  clearTimeout(rest);
  rest = setTimeout(rested, REST);
}

async function rested() {
  const { left, right, bottom, top } = inView();
  const rows = [...raster.within(left, right, bottom, top).slice(0, FEW + 1)];
  const mine = rest;
  await marks.showThumbs(rows.map((row) => ({ row, place: raster.placeOf(row) })), async (asked) => {
    const told = await fetched(`${asks.thumbs}?rows=${asked.join(",")}`, "json");
    return rest === mine ? (told?.thumbs ?? {}) : null;
  }, cssColourOf);
  tellCross();
}

function inView() {
  const [low, high] = [camera.toPlace({ left: 0, top: camera.height }), camera.toPlace({ left: camera.width, top: 0 })];
  return { left: low.x, right: high.x, bottom: low.y, top: high.y };
}

function cssColourOf(row) {
  return raster.cssColour(row);
}

async function fetched(address, kind) {
  try {
    const response = await fetch(address, { credentials: "same-origin", headers: { "HX-Request": "true" } });
    return response.ok ? await response[kind]() : null;
  } catch (error) {
    console.info("The map's server did not answer.", error);
    return null;
  }
}

// -- Pointing -----------------------------------------------------------------------------------
const known = new Map(); // row -> its card's HTML
let pointed = null;
let asking = null;
let isPinned = false;

// The point of a row is ringed and its card follows; with `isKept`, both stay until something else is pointed out.
function pointAt(row, { isKept = false } = {}) {
  if (row === pointed && isKept === isPinned) return;
  pointed = row;
  isPinned = isKept;
  marks.setHovered(row === null ? null : raster.placeOf(row));
  card.hidden = true;
  clearTimeout(asking);
  if (row !== null) asking = setTimeout(() => showCard(row), known.has(row) ? 30 : 110);
}

async function showCard(row) {
  if (!known.has(row)) {
    const html = await fetched(`${asks.at}?row=${row}`, "text");
    if (html === null) return;
    if (known.size > 200) known.clear();
    known.set(row, html);
  }
  if (row !== pointed) return;
  card.innerHTML = known.get(row);
  card.hidden = false;
  placeCard();
}

function placeCard() {
  const at = camera.toScreen(raster.placeOf(pointed));
  const { width, height } = card.getBoundingClientRect();
  const left = at.left + 14 + width > camera.width ? at.left - 14 - width : at.left + 14;
  const top = Math.max(4, Math.min(camera.height - height - 4, at.top - height / 2));
  card.style.transform = `translate(${Math.round(Math.max(4, left))}px, ${Math.round(top)}px)`;
}

function hideCard() {
  pointAt(null);
}

function rowAt(spot) {
  return raster.nearest(camera.toPlace(spot), (camera.radius + REACH) / camera.scale);
}

hand.addEventListener("hover", ({ detail: spot }) => {
  const row = spot ? rowAt(spot) : null;
  lightAt(spot);
  if (row === null ? !isPinned : row !== pointed) pointAt(row);
});

// The cluster or gap that a click at the spot takes: the one whose line or caption is there, else the smallest one around
// it. None inside the region that is shown, or on a point when the map is close: there, the point is meant.
function clusterAt(spot) {
  const marked = spot.target?.closest?.("[data-cluster]");
  if (marked) return clusters.find((cluster) => cluster.id === marked.dataset.cluster) ?? null;
  const found = smallestAround(clusters, camera.toPlace(spot));
  if (!found || found.region === region) return null;
  const isOnPoint = camera.closeness >= NEAR && raster.nearest(camera.toPlace(spot), (camera.radius + HIT) / camera.scale) !== null;
  return isOnPoint ? null : found;
}

// The outline that a click would take is highlighted.
function lightAt(spot) {
  const id = (spot && clusterAt(spot)?.id) ?? null;
  if (id === lit) return;
  lit = id;
  marks.light(id);
  view.classList.toggle("on-cluster", id !== null);
}

// A click takes the cluster that it is in; elsewhere it goes to the tile of the point there, or keeps the point's card.
hand.addEventListener("point", ({ detail: spot }) => {
  const cluster = clusterAt(spot);
  if (cluster) return takeRegion(cluster.region);
  const row = rowAt(spot);
  if (row === null) return hideCard();
  const tile = tileOf(row);
  if (tile) return tile.click();
  pointAt(row, { isKept: true });
});

function tileOf(row) {
  return document.querySelector(`#grid .tile[data-row="${row}"]`);
}

// -- Regions ------------------------------------------------------------------------------------
hand.addEventListener("draw", ({ detail: spots }) => marks.setDrawing(spots));
hand.addEventListener("drawn", ({ detail: spots }) => {
  take(spots.map((spot) => camera.toPlace(spot)).map(({ x, y }) => [x, y]));
  setTool("move");
});
hand.addEventListener("take", () => take(circled(hand.cross).map((spot) => camera.toPlace(spot)).map(({ x, y }) => [x, y])));

// The images within the corners go into the grid.
function take(corners) {
  const whole = thinned(corners).map(([x, y]) => [within(x), within(y)]);
  if (whole.length < 3 || !raster.inside(whole).length) return toast("No image lies there. Draw around some points.");
  takeRegion(whole.map(([x, y]) => `${x}-${y}`).join("_"));
}

// The queue and its choices stay, and follow the region.
function takeRegion(region) {
  document.body.dispatchEvent(new CustomEvent("hoshina:query", { detail: { set: { map: asks.map, region } } }));
}

function within(one) {
  return Math.max(0, Math.min(LAST, Math.round(one)));
}

function thinned(corners) {
  const every = Math.ceil(corners.length / CORNERS);
  return corners.filter((_, i) => i % every === 0);
}

// What the grid shows, also after Back or when the region was dropped elsewhere.
function showRegion(query) {
  const text = query.get("map") === asks.map ? query.get("region") : null;
  const corners = text && /^\d+-\d+(_\d+-\d+)+$/.test(text) ? text.split("_").map((corner) => corner.split("-").map(Number)) : null;
  region = corners && text;
  marks.setRegion(corners);
  const told = document.getElementById("map-region");
  told.hidden = !corners;
  if (corners) told.querySelector("span").textContent = inWords(raster.inside(corners).length);
  document.getElementById("map-close").search = `?${query}`;
}

function inWords(n) {
  return `${grouped.format(n)} ${n === 1 ? "image" : "images"} in the region`;
}

function dropRegion() {
  document.body.dispatchEvent(new CustomEvent("hoshina:query", { detail: { set: { map: null, region: null } } }));
}

document.body.addEventListener("hoshina:asked", ({ detail }) => showRegion(detail.query));

// -- Tools and keys -----------------------------------------------------------------------------
function setTool(tool) {
  hand.tool = tool;
  view.dataset.tool = tool;
  for (const button of document.querySelectorAll("[data-map-tool]")) button.setAttribute("aria-pressed", String(button.dataset.mapTool === tool));
}

document.getElementById("map-pane").addEventListener("click", (event) => {
  const tool = event.target.closest("[data-map-tool]");
  if (tool) setTool(tool.dataset.mapTool);
  const zoom = event.target.closest("[data-map-zoom]")?.dataset.mapZoom;
  if (zoom === "all") camera.showAll();
  else if (zoom) camera.zoom(Number(zoom), hand.cross ?? undefined);
  if (event.target.closest("[data-map-drop]")) dropRegion();
});

// The list of clusters: what the pointer or the focus is on is lit on the map; a click takes it, with the queue as it is.
const list = document.getElementById("map-clusters-slot");
list.addEventListener("click", (event) => {
  const link = event.target.closest("[data-cluster]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  event.stopPropagation();
  list.closest("details").open = false;
  takeRegion(link.dataset.region);
});
for (const name of ["pointerover", "focusin"]) list.addEventListener(name, (event) => marks.light(event.target.closest("[data-cluster]")?.dataset.cluster ?? null));
for (const name of ["pointerleave", "focusout"]) list.addEventListener(name, () => marks.light(null));

document.body.addEventListener("hoshina:map-tool", ({ detail }) => {
  setTool(hand.tool === detail.tool ? "move" : detail.tool);
  view.focus();
});

document.body.addEventListener("hoshina:map-show", ({ detail }) => show(detail.row));

function show(row) {
  const place = raster.placeOf(row);
  if (!place) return toast("That image has no place on this map yet.");
  camera.show(place, CLOSE);
  pointAt(row, { isKept: true });
  view.focus();
}

hand.addEventListener("leave", () => {
  hideCard();
  document.body.dispatchEvent(new CustomEvent("hoshina:focus-lost"));
});
hand.addEventListener("cross", ({ detail }) => {
  marks.setCross(detail);
  if (!detail) return;
  clearTimeout(rest);
  rest = setTimeout(rested, REST);
});

// At rest the cross says what it is on.
function tellCross() {
  const { cross } = hand;
  if (!cross) return;
  const rows = raster.inside(circled(cross).map((spot) => camera.toPlace(spot)).map(({ x, y }) => [x, y]));
  const labelled = rows.filter((row) => raster.stateOf(row) === 1).length;
  say(rows.length ? `${counted(rows.length, "image")} in the circle, ${labelled} labeled. Enter takes them.` : "No image in the circle.");
  const row = raster.nearest(camera.toPlace(cross), cross.radius / camera.scale);
  pointAt(row);
}

// -- The workbench beside it --------------------------------------------------------------------
document.body.addEventListener("hoshina:marked", ({ detail }) => points.decide(detail.row, detail.state, detail.label));
document.body.addEventListener("hoshina:saved", () => {
  points.look();
  clearTimeout(loadClusters.timer);
  loadClusters.timer = setTimeout(loadClusters, CALM);
});

function followTiles() {
  const rows = [...document.querySelectorAll("#grid .tile")].map((tile) => Number(tile.dataset.row));
  marks.setDots(rows.map((row) => raster.placeOf(row)).filter(Boolean));
}

document.body.addEventListener("hoshina:page", followTiles);
document.body.addEventListener("hoshina:tile", ({ detail }) => marks.setFocused(detail.tile ? raster.placeOf(Number(detail.tile.dataset.row)) : null));

// -- Start --------------------------------------------------------------------------------------
by.addEventListener("change", async () => {
  remember(`map-by:${asks.slug}`, by.value);
  await points.colourBy(by.value).catch(away);
});

function away(error) {
  console.info("The map could not be fetched.", error);
  toast("The map could not be fetched. Try again in a moment.", "error");
}

async function loadClusters() {
  const told = await fetched(asks.clusters, "json");
  if (!told) return;
  clusters = told.clusters;
  captionClusters();
}

function captionClusters() {
  // Gaps first: where there is no room for all words, theirs stay.
  const parts = [...clusters].sort((a, b) => b.is_gap - a.is_gap);
  lit = null;
  marks.setClusters(parts.map((one) => ({ ...one, isGap: one.is_gap, words: captionOf(one) })));
}

document.body.addEventListener("hoshina:blind", captionClusters);

function captionOf({ is_gap, name, n, labelled, is_predicted, what: told }) {
  const what = is_predicted && document.body.classList.contains("blind") ? "" : told;
  const images = `${grouped.format(n)} ${n === 1 ? "image" : "images"}`;
  return is_gap ? [`Gap: ${labelled}`, what ? `${images}, ${what}` : images] : [what || name, `${images}, ${labelled}`];
}

async function start() {
  const wished = recall(`map-by:${asks.slug}`, "label");
  if ([...by.options].some(({ value }) => value === wished)) by.value = wished;
  new ResizeObserver(resize).observe(view);
  resize();
  const { bounds, n } = await points.load(by.value);
  isDrawn = true;
  camera.setBounds(bounds, n);
  paint();
  document.getElementById("map-wait").hidden = true;
  points.addEventListener("changed", paint);
  camera.addEventListener("moved", moved);
  showRegion(new URLSearchParams(location.search));
  followTiles();
  rest = setTimeout(rested, REST);
  if (asks.row) show(Number(asks.row));
  await loadClusters();
}

matchMedia("(prefers-color-scheme: light)").addEventListener("change", paint);
new MutationObserver(paint).observe(document.documentElement, { attributeFilter: ["data-theme"] });
start().catch(away);
