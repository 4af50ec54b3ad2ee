// SPDX-License-Identifier: MIT
// The proxy's HTTP interface: one method a question. Every answer comes within a time.

const kTimeoutMs = 12_000; // the proxy's own deadline is 5 s if nothing else is configured

/** Why there is no good answer. `status` is 0 where there was none at all. */
export class ApiError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
  /** True where asking the same again cannot help. */
  get final() {
    return this.status >= 400 && this.status < 500 && ![408, 425, 429].includes(this.status);
  }
}

export class Api {
  #fetch;
  #timeoutMs;
  #session = '';

  constructor(fetch, timeoutMs = kTimeoutMs) {
    this.#fetch = fetch;
    this.#timeoutMs = timeoutMs;
  }

  network() {
    return this.#ask('/network');
  }

  async conversations(participant) {
    return (await this.#ask('/conversations', {participant, limit: 100})).conversations;
  }

  /**
   * A page of history that holds all that earlier answers vouched for; `stale` where it may not.
   * `query` as in the contract.
   */
  async history(query) {
    const page = await this.#ask('/messages', query);
    return {...page, stale: page.headers.has('ChatChain-Stale')};
  }

  /** A page of the feed, from `after` on, or from now; what it holds, later history pages hold too. */
  poll(filter, after, limit) {
    return this.#ask('/messages/poll', {...filter, ...(after && {after}), limit, wait_ms: 0});
  }

  /** The stored message. The same key again gives the same message again. */
  send(message, key) {
    return this.#ask('/messages', {}, {
      method: 'POST',
      headers: {'Content-Type': 'application/json', 'Idempotency-Key': key},
      body: JSON.stringify(message),
    });
  }

  async #ask(path, query = {}, options = {}) {
    const params = queryOf(query);
    const headers = new Headers(options.headers);
    const ofMessages = path.startsWith('/messages');
    const session = ofMessages && this.#session;
    if (session) headers.set('ChatChain-Session', session);
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), this.#timeoutMs);
    try {
      const response = await this.#fetch(params ? `${path}?${params}` : path, {
        cache: 'no-store', ...options, headers, signal: abort.signal,
      });
      if (session && [400, 431].includes(response.status)) {
        // It may be the token that is refused: it is of another cluster, or too long.
        this.#session = '';
        return await this.#ask(path, query, options);
      }
      if (!response.ok) throw new ApiError(response.status, await detailOf(response));
      const body = await response.json();
      if (ofMessages) this.#session = response.headers.get('ChatChain-Session') ?? this.#session;
      Object.defineProperty(body, 'headers', {value: response.headers});
      return body;
    } catch (error) {
      if (error instanceof ApiError) throw error;
      const late = abort.signal.aborted;
      throw new ApiError(0, late ? 'the server did not answer in time' : 'the server cannot be reached');
    } finally {
      clearTimeout(timer);
    }
  }
}

async function detailOf(response) {
  try {
    const problem = await response.json();
    return problem.detail || problem.title || `status ${response.status}`;
  } catch {
    return `the server answered with status ${response.status}`; // somebody in between
  }
}

/** {participant: ['a', 'b'], limit: 5} -> "participant=a&participant=b&limit=5" */
export function queryOf(query) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value].flat()) params.append(name, one);
  }
  return params.toString();
}
