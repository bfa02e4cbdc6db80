/** A group of bars: a workload, and what each system did. */
export interface BarGroup {
  readonly title: string;
  readonly unit: string;
  readonly bars: readonly { readonly name: string; readonly value: number; readonly isOurs: boolean }[];
}

const width = 760;
const labelWidth = 210;
const valueWidth = 110;
const barHeight = 18;
const gap = 6;
const titleHeight = 40;

/** Horizontal bars as an SVG that is readable on light and dark ground; each group has a scale of its own. */
export function barChart(groups: readonly BarGroup[]): string {
  const parts: string[] = [];
  let y = 8;
  for (const { title, unit, bars } of groups) {
    parts.push(`<text x="8" y="${y + 18}" class="title">${escaped(title)}</text>`);
    y += titleHeight - 8;
    const most = Math.max(...bars.map(({ value }) => value), 1e-9);
    for (const { name, value, isOurs } of bars) {
      const length = Math.max(1, Math.round((value / most) * (width - labelWidth - valueWidth)));
      const text = `${value.toLocaleString("en-US", { maximumFractionDigits: 2 })} ${unit}`;
      const middle = y + barHeight - 5;
      parts.push(
        `<text x="${labelWidth - 8}" y="${middle}" text-anchor="end">${escaped(name)}</text>`,
        `<rect x="${labelWidth}" y="${y}" width="${length}" height="${barHeight}" rx="2" class="${isOurs ? "ours" : "peer"}"/>`,
        `<text x="${labelWidth + length + 6}" y="${middle}">${escaped(text)}</text>`,
      );
      y += barHeight + gap;
    }
    y += gap;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y}" viewBox="0 0 ${width} ${y}" role="img">
<title>Muster and its peers: jobs a second, and latencies</title>
<style>
text { font: 13px system-ui, sans-serif; fill: #57606a }
.title { font-weight: 600; font-size: 14px; fill: #57606a }
.ours { fill: #1f77b4 } .peer { fill: #8c959f }
@media (prefers-color-scheme: dark) { text, .title { fill: #c9d1d9 } .ours { fill: #58a6ff } .peer { fill: #6e7681 } }
</style>
${parts.join("\n")}
</svg>
`;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
