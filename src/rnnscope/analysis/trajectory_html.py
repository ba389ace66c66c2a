"""A path in three dimensions to turn by hand: one piece of HTML without any library, for a report."""

import base64
import html
import json
import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from rnnscope.core.errors import ShapeError
from rnnscope.plotting import colour

MOST_POINTS = 12000  # 12000 · (6 + 1) bytes in base64 are 112 kB

# One script element, its own scope; it finds its place by document.currentScript, so several views can share a page. Colours of
# axes and text are the page's (currentColor), so that it reads on light and dark grounds.
_PAGE = """<div class="rnnscope-3d" role="group" style="margin:.6rem 0;max-width:44rem" aria-label="@TITLE@">
<div style="font-weight:600;margin-bottom:.2rem">@TITLE@</div>
<div class="rnnscope-3d-legend" style="font-size:.85rem;line-height:1.7">@LEGEND@</div>
<canvas tabindex="0" role="img" aria-label="@TITLE@: drag to turn, wheel to zoom" style="width:100%;aspect-ratio:4/3;touch-action:none;cursor:grab"></canvas>
<div style="font-size:.8rem;opacity:.7">drag: turn · wheel or + and -: zoom · arrow keys: turn · double click: as at first · click a name: hide or show</div>
<script>(function(){
"use strict";
var root=document.currentScript.parentElement,canvas=root.querySelector("canvas"),pen=canvas.getContext("2d");
var setup=@SETUP@;
function bytes(text){var raw=atob(text),out=new Uint8Array(raw.length);for(var i=0;i<raw.length;i++)out[i]=raw.charCodeAt(i);return out.buffer}
var view=new DataView(bytes(setup.points)),codes=new Uint8Array(bytes(setup.codes)),n=codes.length;
var x=new Float32Array(n),y=new Float32Array(n),z=new Float32Array(n);
for(var i=0;i<n;i++){x[i]=view.getInt16(6*i,true)/32767;y[i]=view.getInt16(6*i+2,true)/32767;z[i]=view.getInt16(6*i+4,true)/32767}
var hidden={},turn,tilt,zoom,depth=new Float32Array(n),px=new Float32Array(n),py=new Float32Array(n),order=[],pending=false,reach=[1e-9,1e-9];
for(i=0;i<n;i++)order.push(i);
function home(){turn=.7;tilt=.45;zoom=1}
function place(a,b,c,s,w,h){
 var u=Math.cos(turn)*a-Math.sin(turn)*b,v=Math.sin(turn)*a+Math.cos(turn)*b;
 var d=Math.cos(tilt)*v-Math.sin(tilt)*c,t=Math.sin(tilt)*v+Math.cos(tilt)*c,f=s*3.2/(3.2+d);
 return[w/2+f*u,h/2-f*t,d]}
function measure(){
 for(var k=0;k<8;k++){var p=place(setup.half[0]*(k&1?1:-1),setup.half[1]*(k&2?1:-1),setup.half[2]*(k&4?1:-1),1,0,0);
  reach[0]=Math.max(reach[0],Math.abs(p[0]));reach[1]=Math.max(reach[1],Math.abs(p[1]))}}
function draw(){
 pending=false;
 var ratio=window.devicePixelRatio||1,w=canvas.clientWidth,h=canvas.clientHeight;
 if(!w)return;
 if(canvas.width!==Math.round(w*ratio)||canvas.height!==Math.round(h*ratio)){canvas.width=Math.round(w*ratio);canvas.height=Math.round(h*ratio)}
 pen.setTransform(ratio,0,0,ratio,0,0);pen.clearRect(0,0,w,h);
 var half=setup.half,s=zoom*Math.min(.56*Math.min(w,h)/Math.hypot(half[0],half[1],half[2]),.48*w/reach[0],.46*h/reach[1]),ink=getComputedStyle(root).color,p,q,k;
 for(i=0;i<n;i++){p=place(x[i],y[i],z[i],s,w,h);px[i]=p[0];py[i]=p[1];depth[i]=p[2]}
 pen.strokeStyle=ink;pen.fillStyle=ink;pen.lineWidth=1;pen.font="12px sans-serif";
 var a=half[0],b=half[1],c=half[2],ends=[[a,-b,-c],[-a,b,-c],[-a,-b,c]];q=place(-a,-b,-c,s,w,h);pen.globalAlpha=.7;
 for(k=0;k<3;k++){p=place(ends[k][0],ends[k][1],ends[k][2],s,w,h);pen.beginPath();pen.moveTo(q[0],q[1]);pen.lineTo(p[0],p[1]);pen.stroke();
  var edge=Math.min(Math.max(p[0]+4,2),w-2-pen.measureText(setup.axes[k]).width);pen.fillText(setup.axes[k],edge,Math.min(Math.max(p[1]-4,12),h-4))}
 pen.globalAlpha=.22;pen.lineWidth=.7;pen.beginPath();
 for(i=1;i<n;i++){if(setup.breaks.indexOf(i)>=0||hidden[codes[i]]||hidden[codes[i-1]])continue;pen.moveTo(px[i-1],py[i-1]);pen.lineTo(px[i],py[i])}
 if(setup.lines)pen.stroke();
 order.sort(function(a,b){return depth[b]-depth[a]});
 for(k=0;k<n;k++){i=order[k];if(hidden[codes[i]])continue;
  var near=Math.max(0,Math.min(1,.5-depth[i]/3.2)),r=(1.1+1.5*near)*Math.sqrt(zoom)*setup.sizes[codes[i]];
  pen.globalAlpha=.35+.6*near;pen.fillStyle=setup.colours[codes[i]];pen.fillRect(px[i]-r,py[i]-r,2*r,2*r)}
 pen.globalAlpha=1}
function later(){if(!pending){pending=true;requestAnimationFrame(draw)}}
function bound(v,a,b){return Math.max(a,Math.min(b,v))}
var held=null;
canvas.addEventListener("pointerdown",function(e){held=[e.clientX,e.clientY];canvas.setPointerCapture(e.pointerId);canvas.style.cursor="grabbing"});
canvas.addEventListener("pointermove",function(e){if(!held)return;turn+=(e.clientX-held[0])*.008;tilt=bound(tilt+(e.clientY-held[1])*.008,-1.55,1.55);held=[e.clientX,e.clientY];later()});
["pointerup","pointercancel"].forEach(function(name){canvas.addEventListener(name,function(){held=null;canvas.style.cursor="grab"})});
canvas.addEventListener("wheel",function(e){e.preventDefault();zoom=bound(zoom*Math.exp(-e.deltaY*.0012),.3,12);later()},{passive:false});
canvas.addEventListener("dblclick",function(){home();later()});
canvas.addEventListener("keydown",function(e){var k=e.key;
 if(k==="ArrowLeft")turn-=.1;else if(k==="ArrowRight")turn+=.1;else if(k==="ArrowUp")tilt=bound(tilt-.1,-1.55,1.55);else if(k==="ArrowDown")tilt=bound(tilt+.1,-1.55,1.55);
 else if(k==="+"||k==="=")zoom=bound(zoom*1.15,.3,12);else if(k==="-")zoom=bound(zoom/1.15,.3,12);else return;e.preventDefault();later()});
root.querySelectorAll("button").forEach(function(b){b.addEventListener("click",function(){var c=b.getAttribute("data-code");hidden[c]=!hidden[c];
 b.style.opacity=hidden[c]?.4:1;b.setAttribute("aria-pressed",hidden[c]?"false":"true");later()})});
window.addEventListener("resize",later);
if(window.ResizeObserver)new ResizeObserver(later).observe(canvas);
if(window.matchMedia){var dark=matchMedia("(prefers-color-scheme: dark)");if(dark.addEventListener)dark.addEventListener("change",later)}
home();measure();draw()})();</script>
</div>
"""

_BUTTON = (
    '<button type="button" data-code="{code}" aria-pressed="true" style="all:unset;cursor:pointer;margin-right:1rem">'
    '<span style="display:inline-block;width:.7em;height:.7em;background:{shade};margin-right:.35em"></span>{name}</button>'
)


def trajectory_3d_html(
    points: Float[np.ndarray, "n 3"],
    symbols: Int[np.ndarray, " n"],
    title: str,
    *,
    names: Sequence[str] | None = None,
    axes: tuple[str, str, str] = ("PC1", "PC2", "PC3"),
    lines: bool = True,
    breaks: Sequence[int] = (),
    sizes: Sequence[float] | None = None,
    colours: Sequence[str] | None = None,
) -> str:
    """An interactive view of points in space, coloured by symbol: drag turns it, the wheel zooms, a click on a name hides it.

    Coordinates are centred on the middle of their range, scaled by one common factor, and stored as 16-bit integers in base64:
    1/65534 of the range is far below a pixel. 9000 points take about 90 kB.

    Args:
        points: (n, 3), 1 <= n <= 12000, finite. symbols: 0 … 254, one per point.
        title: heading; any text, it is escaped. names: of the symbols; "output i" when None. axes: labels.
        lines: join consecutive points. breaks: indices of points that begin a new path and are not joined to the one before.
        sizes: of each symbol's points, relative to the usual one. colours: of the symbols, as #rrggbb; the usual ones when None.

    Returns:
        HTML: one element with its own script, no identifiers, no library, no request. It follows the page's text colour.

    Raises:
        ShapeError: points and symbols that do not fit, too many points, or values that are not finite.
    """
    if points.ndim != 2 or points.shape[1] != 3 or len(symbols) != len(points) or not 1 <= len(points) <= MOST_POINTS:
        raise ShapeError(
            f"{tuple(points.shape)} points and {len(symbols)} symbols",
            f"(n, 3) and n, with n from 1 to {MOST_POINTS}",
            "take every k-th point of a longer path",
        )
    if not np.isfinite(points).all():
        raise ShapeError("points that are not finite", "finite ones", "check that the system is bounded")
    low, high = points.min(0), points.max(0)
    span = float((high - low).max()) / 2 or 1.0
    whole = np.round((points - (low + high) / 2) / span * 32767).astype("<i2")
    used = [int(code) for code in np.unique(symbols)]
    count = max(used) + 1
    labels = [str(n) for n in names] if names else [f"output {i}" for i in range(count)]
    shades = list(colours) if colours else [colour(i) for i in range(count)]
    legend = "".join(_BUTTON.format(code=c, shade=shades[c], name=html.escape(labels[c])) for c in used)
    setup = {
        "points": base64.b64encode(whole.tobytes()).decode(),
        "codes": base64.b64encode(symbols.astype(np.uint8).tobytes()).decode(),
        "colours": shades,
        "sizes": [float(size) for size in sizes] if sizes else [1.0] * count,
        "axes": list(axes),
        "half": [round(float(h), 4) for h in (high - low) / 2 / span],
        "lines": lines,
        "breaks": [int(b) for b in breaks],
    }
    script = json.dumps(setup, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    parts = {"@TITLE@": html.escape(title), "@LEGEND@": legend, "@SETUP@": script}
    return re.sub("@[A-Z]+@", lambda found: parts[found.group()], _PAGE)
