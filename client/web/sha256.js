// SPDX-License-Identifier: MIT
// SHA-256 (FIPS 180-4). The browser's own is asynchronous, and missing on pages that come by plain
// HTTP from another machine.

const kPrimes = (() => {
  const primes = [];
  for (let n = 2; primes.length < 64; ++n) {
    if (primes.every((prime) => n % prime !== 0)) primes.push(n);
  }
  return primes;
})();

// The first 32 bits of the fractional part.
const fraction = (x) => ((x - Math.floor(x)) * 0x100000000) >>> 0;
const kStart = kPrimes.slice(0, 8).map((prime) => fraction(Math.sqrt(prime)));
const kRound = kPrimes.map((prime) => fraction(Math.cbrt(prime)));

const rotate = (x, bits) => (x >>> bits) | (x << (32 - bits));

/** @param {Uint8Array} bytes  @return {Uint8Array} 32 bytes */
export function sha256(bytes) {
  const padded = new Uint8Array(((bytes.length + 8) >> 6 << 6) + 64);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 8, Math.floor(bytes.length / 0x20000000));
  view.setUint32(padded.length - 4, (bytes.length << 3) >>> 0);

  const hash = Uint32Array.from(kStart);
  const w = new Uint32Array(64);
  for (let block = 0; block < padded.length; block += 64) {
    for (let i = 0; i < 16; ++i) w[i] = view.getUint32(block + 4 * i);
    for (let i = 16; i < 64; ++i) {
      const s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ (w[i - 15] >>> 3);
      const s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ (w[i - 2] >>> 10);
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    let [a, b, c, d, e, f, g, h] = hash;
    for (let i = 0; i < 64; ++i) {
      const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + kRound[i] + w[i]) | 0;
      const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((x, i) => { hash[i] += x; });
  }
  const out = new Uint8Array(32);
  const outView = new DataView(out.buffer);
  hash.forEach((x, i) => outView.setUint32(4 * i, x));
  return out;
}
