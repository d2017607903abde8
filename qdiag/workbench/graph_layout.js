// Where the boxes and lines of a network stand: rows from top to bottom, a module's layers inside its own box.
const BOX = { width: 196, height: 24 }, LANE = 7, MARGIN = 12, GAP = 16, HEAD = 22, PAD = 10, SWEEPS = 6, FIRM = 1e6;

// Modules as they nest. A module of one part is that part: it would be a box around a box.
function treeOf(layers) {
  const root = { name: "", parent: null, children: [], first: 0, layers: layers.map((_, index) => index) };
  const groups = new Map([["", root]]);
  layers.forEach(({ modules }, index) => {
    let parent = root;
    for (const name of modules) {
      if (!groups.has(name)) {
        const group = { name, parent, children: [], first: index, layers: [] };
        groups.set(name, group);
        parent.children.push(group);
      }
      parent = groups.get(name);
      parent.layers.push(index);
    }
    parent.children.push({ name: layers[index].name, parent, layer: index, first: index, layers: [index] });
  });
  const merge = (group) => {
    group.children = group.children.map((child) => {
      if (!child.children) return child;
      merge(child);
      const only = child.children.length === 1 ? child.children[0] : child;
      only.parent = group;
      return only;
    });
  };
  merge(root);
  return root;
}

const chainOf = (item) => (item.parent ? [...chainOf(item.parent), item] : [item]);
const groupsOf = (item) => (item.children ? [item, ...item.children.flatMap(groupsOf)] : []);

// Items as near as can be to where they want to be, in their order, none over another: a weighted isotonic regression.
function placed(items) {
  let offset = 0;
  const blocks = [];
  items.forEach((item, index) => {
    if (index) offset += (items[index - 1].width + item.width) / 2;
    blocks.push({ items: [[item, offset]], weight: item.weight, sum: item.weight * (item.wish - offset) });
    while (blocks.length > 1) {
      const [before, last] = blocks.slice(-2);
      if (before.sum / before.weight <= last.sum / last.weight) break;
      before.items.push(...last.items);
      before.weight += last.weight;
      before.sum += last.sum;
      blocks.pop();
    }
  });
  for (const { items: inside, sum, weight } of blocks) for (const [item, own] of inside) item.x = sum / weight + own;
}

// What a level of the tree has to draw: from which row to which row each source's line runs, and where it ends.
function runsAt(group, pairs, rowOf, itemAt) {
  const runs = new Map();
  for (const [source, target] of pairs) {
    const [from, to] = [itemAt(group, source), itemAt(group, target)];
    if ((!from && !to) || from === to) continue;
    if (from && to && from.first > to.first) continue;
    const run = runs.get(source) ?? { source, start: from ? rowOf.get(from) : -1, from, ends: new Set(), leaves: false };
    if (to) run.ends.add(to);
    else run.leaves = true;
    runs.set(source, run);
  }
  return runs;
}

function rowsOf(group, pairs, itemAt) {
  const before = new Map(group.children.map((item) => [item, new Set()]));
  for (const [source, target] of pairs) {
    const [from, to] = [itemAt(group, source), itemAt(group, target)];
    if (from && to && from !== to && from.first < to.first) before.get(to).add(from);
  }
  const rows = new Map();
  for (const item of [...group.children].sort((a, b) => a.first - b.first))
    rows.set(item, Math.max(-1, ...[...before.get(item)].map((one) => rows.get(one))) + 1);
  return rows;
}

// The elements of each row: items, and lanes where a line passes by; with links to the elements of the row above.
function rowsWithLanes(group, runs, rowOf) {
  const rows = [];
  for (const [item, row] of rowOf) (rows[row] ??= []).push({ item, width: item.width + MARGIN, weight: FIRM, above: [], below: [] });
  const elementOf = new Map(rows.flat().map((element) => [element.item, element]));
  const link = (upper, lower, source) => {
    if (!upper) return;
    upper.below.push([lower, source]);
    lower.above.push([upper, source]);
  };
  for (const run of runs.values()) {
    run.lanes = new Map();
    const ends = [...run.ends].map((item) => [rowOf.get(item), elementOf.get(item)]);
    const last = run.leaves ? rows.length : Math.max(...ends.map(([row]) => row));
    let upper = elementOf.get(run.from);
    for (let row = run.start + 1; row <= last; row++) {
      for (const [end, element] of ends) if (end === row) link(upper, element, run.source);
      if (row === last) break;
      const lane = { width: LANE, weight: 1, above: [], below: [] };
      rows[row].push(lane);
      run.lanes.set(row, lane);
      link(upper, lane, run.source);
      upper = lane;
    }
  }
  return rows;
}

// Where a line leaves or enters an element, beside its middle.
const port = (element, side, source) => element.item?.[side]?.get(source) ?? 0;

// A box wants to stand under its boxes: where several lines come from one of them, under that of the latest layer.
function wishes(row, near, side, other) {
  for (const element of row) {
    const boxes = new Map();
    for (const [one, source] of element[near]) {
      const known = boxes.get(one);
      if (one.item && (!known || source.first > known.first)) boxes.set(one, source);
    }
    const counted = boxes.size ? [...boxes] : element[near];
    const places = counted.map(([one, source]) => one.x + port(one, other, source) - port(element, side, source));
    element.wish = places.length ? places.reduce((a, b) => a + b) / places.length : element.x;
  }
}

function arrange(rows) {
  for (const row of rows) {
    row.forEach((element) => (element.wish = 0));
    placed(row);
  }
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const down = sweep % 2 === 0, order = down ? rows : [...rows].reverse();
    for (const row of order) {
      if (down) wishes(row, "above", "entries", "exits");
      else wishes(row, "below", "exits", "entries");
      if (sweep < SWEEPS - 2) row.sort((a, b) => a.wish - b.wish || b.weight - a.weight);
      placed(row);
    }
  }
}

// Sizes and places inside a group, from the innermost groups outwards. entries, exits: where each source's line crosses
// its upper and lower side, beside the middle.
function layOut(group, pairs, isOpen, itemAt) {
  for (const child of group.children) {
    if (child.children && isOpen(child)) layOut(child, pairs, isOpen, itemAt);
    else Object.assign(child, BOX, { entries: null, exits: null, level: null });
  }
  const rowOf = rowsOf(group, pairs, itemAt), runs = runsAt(group, pairs, rowOf, itemAt);
  const rows = rowsWithLanes(group, runs, rowOf);
  arrange(rows);
  const edges = rows.flat().flatMap(({ x, width }) => [x - width / 2, x + width / 2]);
  const [left, right] = [Math.min(...edges), Math.max(...edges)];
  group.width = Math.max(right - left + 2 * PAD, BOX.width);
  const shift = -left - (right - left) / 2;
  let y = group.parent ? HEAD + PAD : PAD;
  const tops = rows.map((row) => {
    const top = y, height = Math.max(0, ...row.map(({ item }) => item?.height ?? 0));
    row.forEach((element) => {
      element.x += shift;
      if (element.item) Object.assign(element.item, { x: element.x, y: top });
    });
    y += height + GAP;
    return [top, top + height];
  });
  group.height = y - GAP + PAD;
  group.level = { runs, tops, rowOf };
  group.entries = new Map();
  group.exits = new Map();
  for (const [source, run] of runs) {
    const ends = [...run.ends];
    if (!run.from) {
      const direct = ends.filter((item) => rowOf.get(item) === 0);
      const inner = direct.length ? direct[0].x + (direct[0].entries?.get(source) ?? 0) : run.lanes.get(0).x;
      group.entries.set(source, inner);
    }
    if (run.leaves) group.exits.set(source, run.lanes.get(rows.length - 1)?.x ?? run.from.x + (run.from.exits?.get(source) ?? 0));
  }
}

// From relative to absolute places: x is an item's middle, y its upper side.
function settle(group, x, y, isOpen) {
  Object.assign(group, { middle: x, top: y });
  for (const child of group.children) {
    const [childX, childY] = [x + child.x, y + child.y];
    if (child.children && isOpen(child)) settle(child, childX, childY, isOpen);
    else Object.assign(child, { middle: childX, top: childY });
  }
}

// The points of a line through one level, from its row `start` to the row `end`.
function through(group, source, start, end) {
  const { runs, tops } = group.level, lanes = runs.get(source).lanes;
  const points = [];
  for (let row = start + 1; row < end; row++)
    points.push([group.middle + lanes.get(row).x, group.top + tops[row][0]], [group.middle + lanes.get(row).x, group.top + tops[row][1]]);
  return points;
}

function pointsOf(source, target, itemAt) {
  const up = chainOf(source), down = chainOf(target);
  let depth = 0;
  while (up[depth + 1] && up[depth + 1] === down[depth + 1]) depth++;
  const shared = up[depth], points = [[source.middle, source.top + source.height]];
  for (let at = up.length - 2; at > depth; at--) {
    const group = up[at];
    points.push(...through(group, source, group.level.rowOf.get(up[at + 1]), group.level.tops.length));
    points.push([group.middle + group.exits.get(source), group.top + group.height]);
  }
  const { rowOf } = shared.level;
  points.push(...through(shared, source, rowOf.get(up[depth + 1]), rowOf.get(down[depth + 1])));
  for (let at = depth + 1; at < down.length - 1; at++) {
    const group = down[at];
    points.push([group.middle + group.entries.get(source), group.top]);
    points.push(...through(group, source, -1, group.level.rowOf.get(down[at + 1])));
  }
  return [...points, [target.middle, target.top]];
}

function drawnOf(points) {
  return points.slice(1).map(([x, y], index) => {
    const [fromX, fromY] = points[index], half = (fromY + y) / 2;
    return Math.abs(fromX - x) < 0.5 ? `M${fromX} ${fromY}L${x} ${y}` : `M${fromX} ${fromY}C${fromX} ${half} ${x} ${half} ${x} ${y}`;
  });
}

// Boxes (layers and folded modules), frames (open modules) and lines (one path for each source).
function layoutOf(root, edges, isOpen) {
  const shown = new Map(); // of each layer: itself, or the outermost folded module that it is in
  const visit = (item) => {
    if (item.children && (item === root || isOpen(item))) item.children.forEach(visit);
    else item.layers.forEach((layer) => shown.set(layer, item));
  };
  visit(root);
  const chains = new Map([...new Set(shown.values())].map((item) => [item, chainOf(item)]));
  const itemAt = (group, item) => {
    const chain = chains.get(item), at = chain.indexOf(group);
    return at < 0 ? undefined : chain[at + 1];
  };
  const pairs = new Map();
  for (const [from, to] of edges) {
    const [source, target] = [shown.get(from), shown.get(to)];
    if (source !== target) pairs.set(`${source.first} ${target.first}`, [source, target]);
  }
  const forward = [...pairs.values()].filter(([source, target]) => isForward(source, target));
  layOut(root, forward, isOpen, itemAt);
  settle(root, root.width / 2, 0, isOpen);
  const lines = new Map();
  for (const [source, target] of forward) {
    const known = lines.get(source) ?? { source, targets: [], pieces: new Set() };
    known.targets.push(target);
    for (const piece of drawnOf(pointsOf(source, target, itemAt))) known.pieces.add(piece);
    lines.set(source, known);
  }
  const back = [...pairs.values()].filter((pair) => !forward.includes(pair));
  const returns = back.map(([source, target]) => ({ source, targets: [target], pieces: [around(source, target)], isBack: true }));
  const frames = groupsOf(root).filter((group) => group !== root && isOpenUp(group, root, isOpen));
  return { boxes: [...chains.keys()], frames, lines: [...lines.values(), ...returns], width: root.width, height: root.height };
}

// Beside the boxes, whatever else is there.
function around(source, target) {
  const [fromX, toX] = [source, target].map((item) => item.middle + item.width / 2);
  const [fromY, toY] = [source, target].map((item) => item.top + item.height / 2);
  const side = Math.max(fromX, toX) + 3 * MARGIN;
  return `M${fromX} ${fromY}C${side} ${fromY} ${side} ${toY} ${toX} ${toY}`;
}

// Whether a line goes down in every module that it runs through: one that comes back to a module does not.
function isForward(source, target) {
  const up = chainOf(source), down = chainOf(target);
  let depth = 0;
  while (up[depth + 1] && up[depth + 1] === down[depth + 1]) depth++;
  return up[depth + 1].first < down[depth + 1].first;
}

const isOpenUp = (group, root, isOpen) => group === root || (isOpen(group) && isOpenUp(group.parent, root, isOpen));
