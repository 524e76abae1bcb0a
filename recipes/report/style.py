"""The report's style sheet: one set of colour names, two palettes."""

CSS = """
:root { color-scheme: light dark; --page:#fff; --ink:#1d2330; --quiet:#68707f; --rule:#e2e5eb; --card:#f6f7f9;
  --a:#2a62c4; --b:#c2571a; --faint:#a9bfe6; --right:#2a62c4; --wrong:#c2571a; --good:#1c7a43; --bad:#b3261e; --on:#fff; }
@media (prefers-color-scheme: dark) { :root { --page:#14171d; --ink:#e6e9ef; --quiet:#98a1b0; --rule:#2b313c; --card:#1c2028;
  --a:#7aa8ff; --b:#f0935a; --faint:#3f5885; --right:#5b8def; --wrong:#e07b3f; --good:#63c78b; --bad:#ff8a80; --on:#0d1016; } }
* { box-sizing: border-box; }
body { margin:0; background:var(--page); color:var(--ink);
  font:15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width:1120px; margin:0 auto; padding:32px 20px 64px; }
h1 { font-size:28px; margin:0; } header p { color:var(--quiet); margin:4px 0 0; }
h2 { font-size:19px; margin:40px 0 12px; border-bottom:1px solid var(--rule); padding-bottom:6px; }
h3 { font-size:15px; margin:20px 0 8px; }
.quiet { color:var(--quiet); font-weight:normal; }
.tiles { display:flex; flex-wrap:wrap; gap:12px; margin-top:24px; }
.tile { background:var(--card); border:1px solid var(--rule); border-radius:10px; padding:12px 18px; min-width:140px; flex:1; }
.tile b { display:block; font-size:24px; font-variant-numeric:tabular-nums; } .tile span { color:var(--quiet); }
.charts { display:grid; grid-template-columns:repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap:16px; }
figure { margin:0; } .chart { background:var(--card); border:1px solid var(--rule); border-radius:10px; padding:12px;
  min-width:0; }
.chart svg { width:100%; height:auto; display:block; } figcaption { font-weight:600; }
.legend { float:right; font-weight:normal; } .key { margin-left:14px; } .key::before { content:""; display:inline-block;
  width:18px;
  height:3px; border-radius:2px; margin-right:6px; vertical-align:middle; background:var(--a);
  } .key.b::before { background:var(--b); }
.key.faint::before { background:var(--faint); }
.grid { stroke:var(--rule); } .tick { fill:var(--quiet); font-size:12px; } .curve { fill:none; stroke-width:2; stroke:var(--a); }
.curve.b { stroke:var(--b); } .curve.faint { stroke:var(--faint); stroke-width:1; } .dot { fill:var(--a);
  } .dot.b { fill:var(--b); }
.matrix { width:100%; height:auto; } .matrix .empty { fill:var(--card); } .matrix .right { fill:var(--right); }
.matrix .wrong { fill:var(--wrong); } .count { fill:var(--ink); font-size:12px; } .count.strong { fill:var(--on); }
.scroll { overflow-x:auto; } table { border-collapse:collapse; } td, th { padding:5px 14px 5px 0; text-align:left;
  border-bottom:1px solid var(--rule); font-variant-numeric:tabular-nums; white-space:nowrap; } tr > th { font-weight:600; }
.bar { display:inline-block; width:80px; height:8px; border-radius:4px; background:var(--rule); margin-right:8px; }
.bar i { display:block; height:8px; border-radius:4px; background:var(--a); }
.samples { display:grid; gap:12px; grid-template-columns:repeat(auto-fill, minmax(150px, 1fr)); }
.samples:has(.words) { grid-template-columns:repeat(auto-fill, minmax(min(100%, 340px), 1fr)); }
.sample { background:var(--card); border:1px solid var(--rule); border-radius:10px; padding:10px;
  } .sample figcaption { font-weight:normal; }
.sample img { width:100%; aspect-ratio:1; object-fit:contain; image-rendering:pixelated; border-radius:6px;
  background:var(--page); }
blockquote { margin:0 0 8px; max-height:11em; overflow:auto; white-space:pre-wrap; overflow-wrap:anywhere; font-size:13px; }
.good { color:var(--good); } .bad { color:var(--bad); } small { font-size:13px; }
pre { background:var(--card); border:1px solid var(--rule); border-radius:10px; padding:14px; overflow-x:auto; font-size:13px; }
pre b { font-weight:600; } code { font-size:13px; } .wrap { white-space:normal; } .proof td { white-space:normal;
  overflow-wrap:anywhere; }
"""
