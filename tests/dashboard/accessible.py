"""What a page must be for who cannot see it, see little, or use no mouse: a check that runs in the page.

After rules of WCAG 2.2 that a script can tell: names and roles (4.1.2), headings (1.3.1), contrast (1.4.3), targets
that lie in what is one picture to a screen reader (4.1.2), one id each (what labels refer to).
"""

FAULTS = """() => {
  const faults = [];
  const say = (rule, node) => faults.push(`${rule}: ${node.outerHTML.slice(0, 110)}`);
  const shown = (node) => node.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const words = (node) => (node.getAttribute("aria-label") || node.textContent || node.title || "").trim();
  const labelled = (node) => words(node) || [...(node.labels || [])].some(words) || node.placeholder;

  for (const node of document.querySelectorAll("a[href], button, input:not([type=hidden]), select, summary"))
    if (shown(node) && !labelled(node)) say("has no name", node);
  for (const node of document.querySelectorAll("[role=img] a, [role=img] button, [aria-hidden=true] a"))
    say("can be reached and is not told of", node);
  for (const node of document.querySelectorAll("svg:not([aria-label])"))
    if (!node.closest("[aria-hidden=true]")) say("is a picture without words", node);
  for (const node of document.querySelectorAll("table"))
    if (!node.querySelector("th")) say("has no headings", node);
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  for (const id of new Set(ids.filter((id, at) => ids.indexOf(id) !== at))) faults.push(`is there twice: #${id}`);
  let level = 0;
  for (const node of document.querySelectorAll("h1, h2, h3, h4")) {
    if (!shown(node)) continue;
    if (+node.localName[1] > level + 1) say("leaves a level out", node);
    level = +node.localName[1];
  }

  const parse = (text) => {
    const numbers = text.match(/[\\d.]+/g).map(Number);
    const [r, g, b, alpha = 1] = numbers;
    return text.startsWith("color(") ? [r * 255, g * 255, b * 255, alpha] : [r, g, b, alpha];
  };
  const over = (top, below) => [0, 1, 2].map((at) => top[at] * top[3] + below[at] * (1 - top[3])).concat(1);
  const ground = (node) => {
    if (!node) return [255, 255, 255, 1];
    const style = getComputedStyle(node);
    if (style.backgroundImage !== "none") return null;
    const own = parse(style.backgroundColor);
    if (own[3] === 1) return own;
    const below = ground(node.parentElement);
    return below && over(own, below);
  };
  const light = ([r, g, b]) => {
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [x, y, z] = [r, g, b].map((v) => linear(v / 255));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || seen.has(node)) continue;
    if (node.closest("svg, .sr, .skip, :disabled") || !shown(node)) continue;
    seen.add(node);
    const style = getComputedStyle(node), below = ground(node);
    if (!below || style.opacity !== "1") continue;
    const [one, other] = [light(over(parse(style.color), below)), light(below)].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05), size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (ratio < (isLarge ? 3 : 4.5)) say(`has a contrast of only ${ratio.toFixed(2)}`, node);
  }
  return faults;
}"""
