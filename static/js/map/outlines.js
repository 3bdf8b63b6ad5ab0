// Find the cluster or gap at a point of the map. Outlines are lists of [x, y] in map units.

// Return the cluster with the smallest outline around {x, y}, or null. Where outlines overlap, the smallest is the most specific.
export function smallestAround(clusters, { x, y }) {
  let [smallest, least] = [null, Infinity];
  for (const cluster of clusters) {
    if (!isInside(cluster.outline, x, y)) continue;
    const area = areaOf(cluster.outline);
    if (area < least) [smallest, least] = [cluster, area];
  }
  return smallest;
}

// Use the even-odd rule, as the server does to select the images of a region.
function isInside(corners, x, y) {
  let isIn = false;
  for (let i = 0, j = corners.length - 1; i < corners.length; j = i, i += 1) {
    const [[xi, yi], [xj, yj]] = [corners[i], corners[j]];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) isIn = !isIn;
  }
  return isIn;
}

function areaOf(corners) {
  return Math.abs(corners.reduce((sum, [x, y], i) => {
    const [nextX, nextY] = corners[(i + 1) % corners.length];
    return sum + x * nextY - nextX * y;
  }, 0)) / 2;
}
