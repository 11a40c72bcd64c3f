"""The page's style sheet, for screen and print."""

from __future__ import annotations

CSS = """
:root { --ink: #1c2530; --faint: #5d6875; --line: #dfe4ea; --accent: #1273c4; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 1080px; padding: 28px 28px 48px; color: var(--ink); background: #fff;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", Roboto, Helvetica, Arial, sans-serif; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 19px; margin: 34px 0 8px; padding-top: 10px; border-top: 1px solid var(--line); }
h3 { font-size: 16px; margin: 22px 0 6px; overflow-wrap: anywhere; }
h3 small { font-weight: 400; color: var(--faint); font-size: 13px; margin-left: 6px; }
h4 { font-size: 14px; margin: 12px 0 4px; }
p { margin: 6px 0; max-width: 82ch; }
.faint, .lead, figcaption, dd { color: var(--faint); }
.lead, dd, p, li { overflow-wrap: anywhere; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; margin: 18px 0; }
.tile { border: 1px solid var(--line); border-radius: 6px; padding: 10px 14px; break-inside: avoid; }
.tile b { display: block; font-size: 24px; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile span { display: block; font-size: 12px; color: var(--faint); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; margin: 8px 0; }
table.cases { width: 100%; }
th, td { padding: 4px 8px; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; }
td { white-space: nowrap; }
thead th { color: var(--faint); font-weight: 600; border-bottom: 2px solid #c6ced7; vertical-align: bottom; }
th:first-child { text-align: left; }
tbody th { font-weight: 600; overflow-wrap: anywhere; }
table.cases tbody th { min-width: 9em; }
td.out { font-weight: 700; background: #fdebd8; }
tr.note td { text-align: left; white-space: normal; color: var(--faint); font-size: 12px; padding-top: 0; }
.warn { border-left: 4px solid #d9640a; background: #fdf3e8; padding: 8px 14px; margin: 12px 0; break-inside: avoid; }
.warn ul { margin: 4px 0; padding-left: 18px; }
.row { display: grid; grid-template-columns: repeat(3, 1fr); gap: 12px; align-items: end; }
.boxes { display: grid; grid-template-columns: repeat(4, 1fr); gap: 8px; }
.boxes.six { grid-template-columns: repeat(6, 1fr); gap: 4px; }
figure { margin: 0; break-inside: avoid; }
figcaption { font-size: 12px; line-height: 1.4; margin-top: 3px; }
figcaption b { color: var(--ink); }
svg { display: block; width: 100%; height: auto; font-family: inherit; }
svg.chart { max-width: 760px; font-size: 11px; }
svg.panel { background: none; }
.side text { font-size: 15px; font-weight: 700; paint-order: stroke; stroke-width: 3px; stroke-linejoin: round; }
.bar text { font-size: 11px; font-weight: 600; paint-order: stroke; stroke-width: 3px; stroke-linejoin: round; }
.key { font-size: 13px; margin: 6px 0 8px; color: var(--faint); }
.swatch { display: inline-block; width: 22px; height: 0; border-top: 4px solid; vertical-align: middle;
  margin: 0 4px 2px 0; }
.swatch + span { margin-right: 16px; }
.block { height: 12px; border: 0; }
.scale { display: grid; grid-template-columns: 1fr 1fr 1fr; max-width: 620px; font-size: 12px; color: var(--faint);
  margin: 6px 0 12px; break-inside: avoid; }
.scale img { grid-column: 1 / 4; width: 100%; height: 12px; border-radius: 2px; }
.scale :nth-child(3) { text-align: center; }
.scale :nth-child(4) { text-align: right; }
section.case { break-inside: avoid; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 14px; font-size: 13px; }
dt { font-weight: 600; }
dd { margin: 0; }
footer { margin-top: 36px; padding-top: 10px; border-top: 1px solid var(--line); font-size: 12px; color: var(--faint); }
@media (max-width: 640px) { .row { grid-template-columns: 1fr; }
  .boxes, .boxes.six { grid-template-columns: 1fr 1fr; } body { padding: 16px; } }
@page { size: A4; margin: 13mm 12mm; }
@media print {
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  h1 { font-size: 17pt; } h2 { font-size: 13pt; margin-top: 18pt; } h3 { font-size: 11pt; margin-top: 10pt; }
  h2, h3, h4, .key { break-after: avoid; }
  tr, .tile { break-inside: avoid; }
  thead { display: table-header-group; }
  .wide { overflow: visible; }
  table { font-size: 7.6pt; } th, td { padding: 2pt 4pt; }
  tr.note td { font-size: 7.4pt; }
  .row { gap: 6pt; }
  .tiles { grid-template-columns: repeat(4, 1fr); }
  .boxes.six { grid-template-columns: repeat(3, 1fr); max-width: 150mm; }
  svg.chart { max-width: 140mm; }
  table.cases tbody th { min-width: 11em; }
  .side text { font-size: 17px; } .bar text { font-size: 13px; }
  figcaption { font-size: 8pt; }
  a { color: inherit; }
}
"""
