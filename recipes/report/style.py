"""The report's style sheet: one set of colour names, two palettes."""

CSS = """
:root { color-scheme: light dark; --page:#fff; --ink:#1d2330; --quiet:#5d6675; --rule:#e2e5eb; --card:#f6f7f9; --track:#dfe3ea;
  --a:#2a62c4; --b:#c2571a; --faint:#a9bfe6; --right:#2a62c4; --wrong:#c2571a; --good:#1c7a43; --bad:#b3261e; --on:#fff;
  --c0:#2a62c4; --c1:#c2571a; --c2:#1c7a43; --c3:#8e3fb0; --c4:#a3790a; --c5:#0b7c8a; --c6:#b8325f; --c7:#5b6472; }
@media (prefers-color-scheme: dark) { :root { --page:#14171d; --ink:#e6e9ef; --quiet:#9ba4b3; --rule:#2b313c; --card:#1c2028;
  --track:#323946; --a:#7aa8ff; --b:#f0935a; --faint:#3f5885; --right:#5b8def; --wrong:#e07b3f; --good:#63c78b; --bad:#ff8a80;
  --on:#0d1016; --c0:#7aa8ff; --c1:#f0935a; --c2:#63c78b; --c3:#c88bea; --c4:#dcb94a; --c5:#4cc3d1; --c6:#f27ba2;
  --c7:#a6aebb; } }
* { box-sizing: border-box; }
html { scroll-behavior:smooth; }
body { margin:0; background:var(--page); color:var(--ink); overflow-wrap:anywhere;
  font:15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width:1120px; margin:0 auto; padding:32px 20px 64px; }
h1 { font-size:28px; line-height:1.25; margin:0; } header p { color:var(--quiet); margin:4px 0 0; }
nav { display:flex; flex-wrap:wrap; gap:4px 18px; margin:14px 0 0; } a { color:var(--a); text-decoration:none; }
a:hover { text-decoration:underline; }
h2 { font-size:19px; margin:40px 0 12px; border-bottom:1px solid var(--rule); padding-bottom:6px; }
h3 { font-size:15px; margin:20px 0 8px; } section p { margin:8px 0; max-width:75ch; }
.quiet { color:var(--quiet); font-weight:normal; }
.tiles { display:grid; grid-template-columns:repeat(auto-fit, minmax(min(168px, 42%), 1fr)); gap:12px; margin-top:24px; }
.tile { background:var(--card); border:1px solid var(--rule); border-radius:10px; padding:12px 16px; }
.tile b { display:block; font-size:24px; line-height:1.3; font-variant-numeric:tabular-nums; }
.tile span { color:var(--quiet); display:block; } .tile small { color:var(--quiet); }
.charts { display:grid; grid-template-columns:repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap:16px; }
figure { margin:0; } .chart { background:var(--card); border:1px solid var(--rule); border-radius:10px; padding:12px;
  min-width:0; }
.chart svg { width:100%; height:auto; display:block; } figcaption { font-weight:600; }
.legend { font-weight:normal; display:flex; flex-wrap:wrap; gap:0 14px; margin-bottom:4px; min-height:1.5em; }
.key::before { content:""; display:inline-block; width:18px; height:3px; border-radius:2px; margin-right:6px;
  vertical-align:middle; background:var(--a); }
.grid { stroke:var(--rule); } .tick { fill:var(--quiet); font-size:12px; } .curve { fill:none; stroke-width:2; stroke:var(--a); }
.dot { fill:var(--a); } .curve.faint { stroke-width:1; } .even { stroke:var(--quiet); stroke-dasharray:4 4; }
.pillar { fill:var(--right); } .gap { fill:var(--wrong); fill-opacity:.7; } .extra { fill:var(--faint); }
.key.gap::before { background:var(--wrong); } .key.extra::before { background:var(--faint); }
.matrix { width:100%; height:auto; display:block; } .matrix .empty { fill:var(--card); } .matrix .right { fill:var(--right); }
.matrix .wrong { fill:var(--wrong); } .count { fill:var(--ink); font-size:12px; } .count.strong { fill:var(--on); }
.beside { display:grid; grid-template-columns:repeat(auto-fit, minmax(min(100%, 340px), 1fr)); gap:16px; align-items:start; }
.scroll { overflow-x:auto; overflow-wrap:normal; max-width:100%; }
table { border-collapse:collapse; } td, th { padding:5px 16px 5px 0; text-align:left; vertical-align:top;
  border-bottom:1px solid var(--rule); font-variant-numeric:tabular-nums; white-space:nowrap; } tr > th { font-weight:600; }
tr.head th { color:var(--quiet); font-weight:normal; } td.number { text-align:right; }
td .range { color:var(--quiet); font-size:13px; }
.bar { display:inline-block; position:relative; width:72px; height:8px; border-radius:4px; background:var(--track);
  margin-right:8px; vertical-align:middle; overflow:hidden; }
.bar i { display:block; height:8px; background:var(--a); }
.bar u { position:absolute; top:3px; height:2px; background:var(--ink); opacity:.75; }
.samples { display:grid; gap:12px; grid-template-columns:repeat(auto-fill, minmax(150px, 1fr)); }
.samples.wide { grid-template-columns:repeat(auto-fill, minmax(min(100%, 340px), 1fr)); }
.sample { background:var(--card); border:1px solid var(--rule); border-radius:10px; padding:10px; min-width:0; }
.sample figcaption { font-weight:normal; }
.sample img { width:100%; aspect-ratio:1; object-fit:contain; border-radius:6px; background:var(--page); display:block;
  margin-bottom:6px; } .sample img.tiny { image-rendering:pixelated; }
.sample audio { width:100%; height:36px; display:block; margin-bottom:6px; }
blockquote { margin:0 0 8px; max-height:11em; overflow:auto; white-space:pre-wrap; overflow-wrap:anywhere; font-size:13px; }
.good { color:var(--good); } .bad, header .bad { color:var(--bad); } small { font-size:13px; }
pre { background:var(--card); border:1px solid var(--rule); border-radius:10px; padding:14px; overflow-x:auto; font-size:13px;
  overflow-wrap:normal; }
pre b { font-weight:600; } code { font-size:13px; } .wrap { white-space:normal; } .proof td { white-space:normal;
  overflow-wrap:anywhere; min-width:16em; }
td.setting { white-space:normal; min-width:7em; max-width:24em; overflow-wrap:anywhere; }
.beside figure { max-width:480px; } .chart svg { overflow:visible; }
@media (max-width:640px) { .chart .tick { font-size:15px; } main { padding:24px 14px 48px; } h1 { font-size:24px; } }
details summary { cursor:pointer; color:var(--a); margin:8px 0; }
@media print { nav, details summary { display:none; } section { break-inside:avoid-page; } }
""" + "".join(
    f".key.{name}::before {{ background:var(--{name}); }} .curve.{name} {{ stroke:var(--{name}); }} "
    f".dot.{name} {{ fill:var(--{name}); }}\n"
    for name in ("a", "b", "faint", *(f"c{i}" for i in range(8)))
)
