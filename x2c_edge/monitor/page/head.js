// The virtual Ameca: poses and paints the head that /head.bin describes, as the project's own renderer does.

const TYPES = { float32: Float32Array, uint16: Uint16Array, int16: Int16Array, uint32: Uint32Array, int32: Int32Array, uint8: Uint8Array };

export async function loadHead() {
  const buffer = await (await fetch("head.bin")).arrayBuffer();
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const arrays = {};
  for (const [name, { type, at, size }] of Object.entries(header.arrays)) {
    arrays[name] = new TYPES[type](buffer, 4 + length + at, size);
  }
  return { ...header, arrays };
}

const smoothstep = (low, high, v) => {
  const t = Math.min(Math.max((v - low) / (high - low), 0), 1);
  return t * t * (3 - 2 * t);
};
const interpolate = (v, xs, ys) => {
  if (v <= xs[0]) return ys[0];
  for (let k = 1; k < xs.length; k++) {
    if (v <= xs[k]) return ys[k - 1] + ((v - xs[k - 1]) / (xs[k] - xs[k - 1])) * (ys[k] - ys[k - 1]);
  }
  return ys[ys.length - 1];
};

// Row-major 3x3 matrices for column vectors.
const turn = (axis, angle) => {
  const c = Math.cos(angle), s = Math.sin(angle);
  const [i, j] = [[1, 2], [2, 0], [0, 1]][axis];
  const m = [1, 0, 0, 0, 1, 0, 0, 0, 1];
  m[4 * i] = m[4 * j] = c;
  m[3 * i + j] = -s;
  m[3 * j + i] = s;
  return m;
};
const product = (a, b) => {
  const m = new Array(9);
  for (let i = 0; i < 3; i++) {
    for (let j = 0; j < 3; j++) m[3 * i + j] = a[3 * i] * b[j] + a[3 * i + 1] * b[3 + j] + a[3 * i + 2] * b[6 + j];
  }
  return m;
};
// p[at..] + weight * (m (p - pivot) - (p - pivot))
const turnAbout = (p, at, m, pivot, weight) => {
  const x = p[at] - pivot[0], y = p[at + 1] - pivot[1], z = p[at + 2] - pivot[2];
  p[at] += weight * (m[0] * x + m[1] * y + m[2] * z - x);
  p[at + 1] += weight * (m[3] * x + m[4] * y + m[5] * z - y);
  p[at + 2] += weight * (m[6] * x + m[7] * y + m[8] * z - z);
};
// Turns about the origin, then moves.
const place = (from, to, first, last, m, offset) => {
  for (let i = 3 * first; i < 3 * last; i += 3) {
    const x = from[i], y = from[i + 1], z = from[i + 2];
    to[i] = m[0] * x + m[1] * y + m[2] * z + offset[0];
    to[i + 1] = m[3] * x + m[4] * y + m[5] * z + offset[1];
    to[i + 2] = m[6] * x + m[7] * y + m[8] * z + offset[2];
  }
};

export class Poser {
  constructor(head) {
    this.head = head;
    const count = head.arrays.rest.length / 3;
    this.vertices = new Float32Array(3 * count);
    this.shade = new Float32Array(head.arrays.shade);
    this.skin = new Float32Array(head.arrays.skin.length);
  }

  // controls: 30 numbers in the paper's units. Fills vertices and shade, in head space.
  pose(controls) {
    const { head, skin, vertices, shade } = this;
    const a = head.arrays, { index, parts } = head;
    skin.set(a.skin);
    for (let term = 0, at = 0; term < a.term_control.length; term++) {
      const value = controls[a.term_control[term]], d = value - head.neutral[a.term_control[term]];
      const kind = a.term_kind[term], end = at + a.term_count[term];
      const weight = kind === 0 ? d : kind === 1 ? Math.max(d, 0) : kind === -1 ? Math.max(-d, 0) : Math.max(-value, 0);
      if (weight !== 0) {
        for (let k = at; k < end; k++) {
          const to = 4 * a.moved[k], from = 4 * k;
          for (let c = 0; c < 4; c++) skin[to + c] += weight * a.fields[from + c];
        }
      }
      at = end;
    }
    const jawOpen = head.jaw.open * (controls[index["Jaw Pitch"]] - 1);
    const jawSwing = head.jaw.yaw * (controls[index["Jaw Yaw"]] - head.neutral[index["Jaw Yaw"]]);
    const jaw = product(turn(1, jawSwing), turn(0, -jawOpen)), pivot = head.jaw.pivot;
    for (let i = 0; i < a.jaw_weight.length; i++) {
      vertices[3 * i] = skin[4 * i];
      vertices[3 * i + 1] = skin[4 * i + 1];
      vertices[3 * i + 2] = skin[4 * i + 2];
      shade[i] = Math.max(skin[4 * i + 3], 0.25 * a.shade[i]);
      turnAbout(vertices, 3 * i, jaw, pivot, a.jaw_weight[i]);
    }
    this.keepLipsApart();
    for (const [name, [first, last]] of Object.entries(parts)) {
      if (name === "teeth lower" || name === "tongue" || name.startsWith("teeth") || name.startsWith("ear")
        || name === "throat" || name === "neck" || name === "chest") {
        vertices.set(a.rest.subarray(3 * first, 3 * last), 3 * first);
      }
      if (name === "teeth lower" || name === "tongue") {
        for (let i = first; i < last; i++) turnAbout(vertices, 3 * i, jaw, pivot, 1);
      }
    }
    this.turnEyes(controls);
    this.turnHead(controls);
  }

  keepLipsApart() {
    const { vertices, head } = this, a = head.arrays, columns = head.mouth_columns;
    const overlap = new Float32Array(columns);
    for (let c = 1; c < columns - 1; c++) {
      overlap[c] = Math.max(vertices[3 * a.mouth_lower[c] + 1] - vertices[3 * a.mouth_upper[c] + 1], 0) / 2;
    }
    for (let row = 0; row < a.press.length; row++) {
      for (let c = 1; c < columns - 1; c++) {
        vertices[3 * a.mouth_upper[row * columns + c] + 1] += a.press[row] * overlap[c];
        vertices[3 * a.mouth_lower[row * columns + c] + 1] -= a.press[row] * overlap[c];
      }
    }
  }

  turnEyes(controls) {
    const { head, vertices, shade } = this, { index, parts } = head, rest = head.arrays.rest;
    const limited = (angle, limit) => angle / (1 + (Math.abs(angle) / limit) ** 2.5) ** 0.4;
    const phi = limited(controls[index["Gaze Target Phi"]], head.gaze_limit[0]);
    const theta = limited(controls[index["Gaze Target Theta"]], head.gaze_limit[1]);
    const gaze = product(turn(1, phi), turn(0, -theta));
    for (const [side, Side, sign] of [["left", "Left", 1], ["right", "Right", -1]]) {
      const centre = [head.eye_centre[0] * sign, head.eye_centre[1], head.eye_centre[2]];
      const edges = {};
      for (const [which, Which] of [["upper", "Upper"], ["lower", "Lower"]]) {
        const value = controls[index[`Eyelid ${Which} ${Side}`]];
        edges[which] = (interpolate(value, [-1, 0, 1, 2], head.lid_edges[which]) * Math.PI) / 180;
        place(rest, vertices, ...parts[`lid ${which} ${side}`], turn(0, -edges[which]), centre);
      }
      const [first, last] = parts[`eye ${side}`];
      place(rest, vertices, first, last, gaze, [0, 0, 0]);
      for (let i = first; i < last; i++) {
        const x = vertices[3 * i], y = vertices[3 * i + 1], z = vertices[3 * i + 2];
        const elevation = Math.atan2(y, Math.max(z, 1e-3));
        const bell = (v) => Math.exp(-v * v);
        const shadow = 0.5 * bell(Math.max(edges.upper - elevation, 0) / 0.22)
          + 0.18 * bell(Math.max(elevation - edges.lower, 0) / 0.12);
        shade[i] = (1 - shadow) * (1 - 0.55 * smoothstep(0.07, 0.15, Math.abs(x)));
        vertices[3 * i] = x + centre[0];
        vertices[3 * i + 1] = y + centre[1];
        vertices[3 * i + 2] = z + centre[2];
      }
    }
  }

  turnHead(controls) {
    const { head, vertices } = this, { index, parts } = head, a = head.arrays;
    const of = (name) => controls[index[name]];
    const skull = product(product(turn(1, of("Head Yaw")), turn(0, -of("Head Pitch"))), turn(2, of("Head Roll")));
    const neck = product(turn(0, -of("Neck Pitch")), turn(2, of("Neck Roll")));
    const atlas = head.pivots.head, base = head.pivots.neck;
    const last = parts["ear right"][1];
    for (let i = 0; i < last; i++) {
      turnAbout(vertices, 3 * i, skull, atlas, 1);
      turnAbout(vertices, 3 * i, neck, base, 1);
    }
    const [first, end] = parts.neck;
    for (let i = first; i < end; i++) {
      turnAbout(vertices, 3 * i, skull, atlas, a.neck_head[i - first]);
      turnAbout(vertices, 3 * i, neck, base, a.neck_base[i - first]);
    }
  }
}

const VERTEX = `#version 300 es
in vec3 position, normal; in vec2 uv; in float shade;
uniform mat3 view; uniform vec3 offset; uniform vec2 focal; uniform vec2 shift;
out vec3 n; out vec2 at; out float s;
void main() {
  vec3 p = view * position + offset;
  n = view * normal; at = uv; s = shade;
  const float near = 1.0, far = 30.0;
  gl_Position = vec4(focal * p.xy + shift * -p.z, (-p.z * (far + near) - 2.0 * far * near) / (far - near), -p.z);
}`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec3 n; in vec2 at; in float s; out vec4 colour;
uniform sampler2D paint; uniform vec3 sky, ground; uniform vec3 direction[4], light[4];
void main() {
  if (!gl_FrontFacing) { colour = vec4(0.08, 0.073, 0.08, 1.0); return; }
  vec3 normal = normalize(n);
  vec4 texel = texture(paint, at);
  float shade = max(s, 0.0), gloss = texel.a * min(shade, 1.0);
  vec3 diffuse = mix(ground, sky, 0.5 + 0.5 * normal.y), shine = vec3(0.0);
  float broad = gloss * (1.0 - gloss * gloss) * 0.35, sharp = gloss * gloss * gloss * 3.0;
  for (int k = 0; k < 4; k++) {
    float lit = (dot(normal, direction[k]) + 0.25) / 1.25;
    if (lit <= 0.0) continue;
    float h = max(dot(normal, normalize(direction[k] + vec3(0.0, 0.0, 1.0))), 0.0);
    diffuse += light[k] * lit;
    shine += light[k] * (broad * pow(h, 16.0) + sharp * pow(h, 128.0));
  }
  colour = vec4(sqrt(texel.rgb * texel.rgb * shade * diffuse + shine), 1.0);
}`;

export class HeadView {
  // Throws an Error where there is no WebGL 2.
  static async open(canvas) {
    const gl = canvas.getContext("webgl2", { antialias: true });
    if (!gl) throw new Error("this browser has no WebGL 2");
    const head = await loadHead();
    const png = new Blob([head.arrays.texture], { type: "image/png" });
    // Alpha is gloss, not transparency: it must not be multiplied into the colours.
    const texture = await createImageBitmap(png, { premultiplyAlpha: "none", colorSpaceConversion: "none" });
    return new HeadView(canvas, gl, head, texture);
  }

  constructor(canvas, gl, head, texture) {
    Object.assign(this, { canvas, gl, head });
    this.poser = new Poser(head);
    this.normals = new Float32Array(this.poser.vertices.length);
    this.yaw = this.pitch = 0;
    this.zoom = 1;
    const program = (this.program = gl.createProgram());
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    const buffer = (name, size, data) => {
      const location = gl.getAttribLocation(program, name), b = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, b);
      gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
      gl.enableVertexAttribArray(location);
      gl.vertexAttribPointer(location, size, gl.FLOAT, false, 0, 0);
      return b;
    };
    this.buffers = {
      position: buffer("position", 3, this.poser.vertices),
      normal: buffer("normal", 3, this.normals),
      shade: buffer("shade", 1, this.poser.shade),
    };
    buffer("uv", 2, head.arrays.uv);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, head.arrays.triangles, gl.STATIC_DRAW);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, texture);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    const at = (name) => gl.getUniformLocation(program, name), { scene } = head;
    gl.uniform3fv(at("sky"), scene.sky);
    gl.uniform3fv(at("ground"), scene.ground);
    const directions = new Float32Array(12), lights = new Float32Array(12);
    scene.lights.forEach((light, k) => {
      const length = Math.hypot(...light.slice(0, 3));
      for (let c = 0; c < 3; c++) {
        directions[3 * k + c] = light[c] / length;
        lights[3 * k + c] = light[3 + c];
      }
    });
    gl.uniform3fv(at("direction"), directions);
    gl.uniform3fv(at("light"), lights);
    this.at = { view: at("view"), offset: at("offset"), focal: at("focal"), shift: at("shift") };
    gl.enable(gl.DEPTH_TEST);
    gl.clearColor(0.2, 0.21, 0.23, 1);
    this.followPointer();
  }

  followPointer() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
    canvas.addEventListener("pointermove", (event) => {
      if (!(event.buttons & 1)) return;
      this.yaw = Math.min(Math.max(this.yaw - event.movementX * 0.01, -3.2), 3.2);
      this.pitch = Math.min(Math.max(this.pitch + event.movementY * 0.01, -1.2), 1.2);
    });
    canvas.addEventListener("dblclick", () => Object.assign(this, { yaw: 0, pitch: 0, zoom: 1 }));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom = Math.min(Math.max(this.zoom * Math.exp(-event.deltaY * 0.001), 0.5), 4);
    }, { passive: false });
  }

  sumNormals() {
    const { normals } = this, v = this.poser.vertices, t = this.head.arrays.triangles;
    normals.fill(0);
    for (let i = 0; i < t.length; i += 3) {
      const a = 3 * t[i], b = 3 * t[i + 1], c = 3 * t[i + 2];
      const ux = v[b] - v[a], uy = v[b + 1] - v[a + 1], uz = v[b + 2] - v[a + 2];
      const wx = v[c] - v[a], wy = v[c + 1] - v[a + 1], wz = v[c + 2] - v[a + 2];
      const x = uy * wz - uz * wy, y = uz * wx - ux * wz, z = ux * wy - uy * wx;
      for (const k of [a, b, c]) {
        normals[k] += x;
        normals[k + 1] += y;
        normals[k + 2] += z;
      }
    }
  }

  draw(controls) {
    const { gl, canvas, head } = this;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    this.poser.pose(controls);
    this.sumNormals();
    for (const [name, data] of [["position", this.poser.vertices], ["normal", this.normals], ["shade", this.poser.shade]]) {
      gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
      gl.bufferSubData(gl.ARRAY_BUFFER, 0, data);
    }
    const cy = Math.cos(this.yaw), sy = Math.sin(this.yaw), cp = Math.cos(this.pitch), sp = Math.sin(this.pitch);
    const view = product([1, 0, 0, 0, cp, -sp, 0, sp, cp], [cy, 0, -sy, 0, 1, 0, sy, 0, cy]);
    const look = head.view.look_at;
    const offset = [0, 1, 2].map((i) => -(view[3 * i] * look[0] + view[3 * i + 1] * look[1] + view[3 * i + 2] * look[2]));
    offset[2] -= head.view.distance;
    const focal = (2 * head.view.distance * this.zoom) / head.view.height;
    gl.uniformMatrix3fv(this.at.view, true, view);
    gl.uniform3fv(this.at.offset, offset);
    gl.uniform2f(this.at.focal, (focal * height) / width, focal);
    gl.uniform2f(this.at.shift, 0, 0);
    gl.viewport(0, 0, width, height);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.drawElements(gl.TRIANGLES, head.arrays.triangles.length, gl.UNSIGNED_SHORT, 0);
  }
}
