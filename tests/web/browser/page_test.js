// SPDX-License-Identifier: MIT
// The chat page as people use it, in a real browser, with real nodes that are killed:
//     page_test.js BROWSER BIN_DIR PICTURES_DIR [part of a case's name]
// Each page is watched: a request to another host, an error on the console and a violation of the
// page's policy fail the case, whatever it is about.
'use strict';
const assert = require('assert');
const fs = require('fs');
const path = require('path');
const axe = require('axe-core');
const {chromium} = require('playwright-core');
const {until, World} = require('./world.js');

const [browserPath, binDir, picturesDir, only] = process.argv.slice(2);

// What the browser itself says of a server that is away; the page can not keep it from that.
const kOfOutage = /Failed to load resource|WebSocket connection to|ERR_CONNECTION|ERR_EMPTY_RESPONSE/;

/** One reader: a browser profile with the page, and what is to be seen on it. */
class Reader {
  static async begin(world, browser, {name, outage = false, ...options} = {}) {
    const reader = new Reader();
    reader.faults = [];
    reader.outage = outage;
    reader.origin = world.origin;
    reader.context = await browser.newContext({
      viewport: {width: 1100, height: 760}, reducedMotion: 'reduce', ...options});
    reader.context.on('request', (request) => {
      const url = new URL(request.url());
      if (url.host !== world.address) reader.faults.push(`a request to ${url}`);
    });
    reader.page = await reader.tab();
    if (name) await reader.enter(name);
    return reader;
  }

  async tab(prepare) {
    const page = await this.context.newPage();
    page.setDefaultTimeout(30_000);
    page.on('pageerror', (error) => this.faults.push(`an exception: ${error.stack}`));
    page.on('console', (message) => {
      if (!['error', 'warning'].includes(message.type())) return;
      if (this.outage && kOfOutage.test(message.text())) return;
      this.faults.push(`on the console: ${message.text()} (${message.location().url})`);
    });
    await page.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) => {
        console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`);
      });
    });
    await prepare?.(page);
    await page.goto(this.origin);
    return page;
  }

  async enter(name) {
    await this.page.fill('#name', name);
    await this.page.press('#name', 'Enter');
    await this.page.locator('#app').waitFor();
  }

  async open(name, kind = 'user') {
    await this.page.goto(`${this.origin}/#/${kind}/${encodeURIComponent(name)}`);
    await this.page.locator('#composer').waitFor();
    await until(async () => (await this.page.textContent('#title')).includes(name), `${name} is open`);
  }

  async write(text) {
    await this.page.fill('#text', text);
    await this.page.press('#text', 'Enter');
  }

  texts(page = this.page) {
    return page.locator('.message .bubble').allTextContents();
  }

  /** All of them, once each, in this order, and none of them waits. */
  async sees(texts, page = this.page) {
    await until(async () => {
      const seen = await this.texts(page);
      assert.deepStrictEqual(seen.filter((text) => texts.includes(text)), texts);
      assert.strictEqual(await page.locator('.message.waiting, .message.refused').count(), 0);
      return true;
    }, `${JSON.stringify(texts).slice(0, 200)} on the page`);
  }

  line() {
    return this.page.textContent('#network-text');
  }
  untilLine(pattern) {
    return until(async () => pattern.test(await this.line()), `the line says ${pattern}`);
  }

  async picture(name) {
    await this.page.screenshot({path: path.join(picturesDir, `${name}.png`)});
  }

  /** Faults of accessibility, as axe-core sees them. */
  async checkRoles() {
    await this.page.evaluate(axe.source);
    const {violations} = await this.page.evaluate(() => window.axe.run(document, {
      resultTypes: ['violations'],
    }));
    assert.deepStrictEqual(violations.map(({id, nodes}) => [id, nodes.map((node) => node.html)]), []);
  }

  async end() {
    await this.context.close();
    assert.deepStrictEqual(this.faults, []);
  }
}

// CJK, Arabic, Hebrew between brackets, emoji of several code points, and markup that must not be any.
const kTexts = [
  'こんにちは、元気ですか？ 你好，世界！ 안녕하세요',
  'مرحبا، كيف حالك اليوم؟',
  'mixed: (שלום) and 123',
  '👩‍👩‍👧‍👦 🇪🇺 👍🏽 ❤️',
  '<img src=x onerror="window.owned = 1"><script>window.owned = 2</script>&lt;b&gt;',
  'javascript:window.owned=3 "\'><svg onload=window.owned=4>',
];

const cases = {
  async 'by keyboard alone, with roles and names for all there is'({world, browser}) {
    await world.say('cleo', {recipient: 'kay'}, 'are you there?');
    const reader = await Reader.begin(world, browser);
    const {page} = reader;
    const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.className
        || document.activeElement.tagName);
    await until(async () => await focused() === 'name', 'the field has the focus');
    await reader.checkRoles();
    await reader.picture('welcome');
    await page.keyboard.type('kay');
    await page.keyboard.press('Enter');
    // Who wrote before is in the list, as unread.
    const link = page.getByRole('link', {name: /cleo/});
    await link.waitFor();
    await until(async () => (await page.title()).startsWith('(1)'), 'the title counts');
    await reader.checkRoles();
    await page.keyboard.press('Tab');
    for (let i = 0; i < 6 && !(await focused()).includes('has-unread'); ++i) await page.keyboard.press('Tab');
    assert.ok((await focused()).includes('has-unread'), await focused());
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.strictEqual(outline, 'solid', 'the focus can be seen');
    await page.keyboard.press('Enter');
    await until(async () => await focused() === 'text', 'one can write at once');
    await page.keyboard.type('I am');
    await page.keyboard.press('Shift+Enter');
    await page.keyboard.type('here');
    await page.keyboard.press('Enter');
    await reader.sees(['are you there?', 'I am\nhere']);
    await until(async () => await page.title() === 'ChatChain', 'all has been read');
    assert.strictEqual(await page.getByRole('log').getAttribute('aria-live'), 'polite');
    await reader.checkRoles();
    // Back to the list, and a room from there.
    await page.keyboard.press('Escape');
    await until(async () => (await page.evaluate(() => document.activeElement.tagName)) === 'A', 'the list has the focus');
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('Enter');
    await page.getByRole('dialog', {name: 'New conversation'}).waitFor();
    await reader.checkRoles();
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('Tab');
    await page.keyboard.type('keys & <b>');
    await reader.picture('dialog');
    await page.keyboard.press('Enter');
    await until(async () => await focused() === 'text', 'the room is open');
    await page.keyboard.type('a first word');
    await page.keyboard.press('Enter');
    await reader.sees(['a first word']);
    const {messages: [last]} = await world.get('/messages?sender=kay&order=desc&limit=1');
    assert.deepStrictEqual([last.room, last.text], ['keys & <b>', 'a first word']);
    await reader.end();
  },

  async 'two pages chat while a node is killed; text is text'({world, browser}) {
    const [ann, bob] = await Promise.all(['ann', 'bob'].map(
      (name) => Reader.begin(world, browser, {name})));
    await ann.open('bob');
    await bob.open('ann');
    const all = [];
    for (let i = 0; i < 12; ++i) {
      // The proxy follows one of them; it must be hit sooner or later.
      if (i === 4) await world.kill(0);
      if (i === 8) {
        await world.startNode(0);
        await world.untilReady(3);
        await world.kill(1);
      }
      const text = `${i} ${kTexts[i % kTexts.length]}`;
      all.push(text);
      await (i % 2 ? bob : ann).write(text);
      await (i % 2 ? ann : bob).sees([text]);
    }
    await ann.untilLine(/^2 of 3 nodes up/);
    await world.startNode(1);
    await ann.untilLine(/^3 nodes up/);
    for (const reader of [ann, bob]) {
      await reader.sees(all);
      assert.strictEqual((await reader.texts()).length, all.length);
      assert.strictEqual(await reader.page.evaluate(() => window.owned), undefined);
      assert.strictEqual(await reader.page.locator('.bubble :not(a)').count(), 0);
    }
    assert.match(await ann.line(), / · live$/);
    const {messages} = await world.get('/messages?participant=ann&participant=bob');
    assert.deepStrictEqual(messages.map((message) => message.text), all);
    // Arabic begins at the right, Latin at the left.
    const directionOf = (text) => ann.page.locator('.bubble', {hasText: text}).first()
      .evaluate((bubble) => getComputedStyle(bubble).direction);
    assert.strictEqual(await directionOf('mixed'), 'ltr');
    await ann.write(kTexts[1]);
    await bob.sees([kTexts[1]]);
    const arabic = bob.page.locator('.bubble').last();
    assert.strictEqual(await arabic.evaluate((bubble) => getComputedStyle(bubble).direction), 'rtl');
    await ann.picture('desktop');
    await ann.page.emulateMedia({colorScheme: 'dark'});
    await ann.checkRoles();
    await ann.picture('desktop-dark');
    await ann.end();
    await bob.end();
  },

  async 'all nodes down: it says so, keeps what is written, and sends it once'({world, browser}) {
    const [dora, emil] = await Promise.all(['dora', 'emil'].map(
      (name) => Reader.begin(world, browser, {name, outage: true})));
    await dora.open('emil');
    await emil.open('dora');
    await dora.write('before');
    await emil.sees(['before']);
    for (const i of [0, 1, 2]) await world.kill(i);
    await dora.untilLine(/^All 3 nodes are down/);
    await emil.write('one, into the dark');
    await dora.write('two, into the dark');
    await dora.write('three, into the dark');
    await dora.untilLine(/2 messages kept here/);
    await until(async () => await dora.page.locator('.message.waiting').count() === 2, 'two wait');
    await dora.checkRoles();
    await dora.picture('offline');
    await dora.page.emulateMedia({colorScheme: 'dark'});
    await dora.picture('offline-dark');
    // A reload keeps the name, the conversation, what was there, and what waits.
    await dora.page.fill('#text', 'a draft');
    await dora.page.reload();
    await until(async () => await dora.page.locator('.message.waiting').count() === 2, 'two wait still');
    await until(async () => {
      assert.deepStrictEqual(await dora.texts(), ['before', 'two, into the dark', 'three, into the dark']);
      return true;
    }, 'all is there as before');
    assert.strictEqual(await dora.page.textContent('#me'), 'dora');
    assert.strictEqual(await dora.page.inputValue('#text'), 'a draft');
    await dora.untilLine(/^All 3 nodes are down/);
    for (const i of [0, 1, 2]) await world.startNode(i);
    await dora.untilLine(/^3 nodes up.* · live$/);
    for (const reader of [dora, emil]) {
      await reader.sees(['two, into the dark', 'three, into the dark']);
      await reader.sees(['one, into the dark']);
      assert.strictEqual((await reader.texts()).length, 4);
    }
    const {messages} = await world.get('/messages?participant=dora&participant=emil');
    assert.strictEqual(messages.length, 4);
    await dora.end();
    await emil.end();
  },

  async 'a proxy that cannot be reached: the same, and nothing is lost'({world, browser}) {
    const fay = await Reader.begin(world, browser, {name: 'fay', outage: true});
    await fay.open('gus');
    await fay.write('one');
    await fay.sees(['one']);
    await world.relay.close();
    await fay.untilLine(/^The server cannot be reached/);
    await fay.write('two');
    await until(async () => await fay.page.locator('.message.waiting').count() === 1, 'it waits');
    await world.relay.open();
    await fay.untilLine(/live$/);
    await fay.sees(['one', 'two']);
    await world.say('gus', {recipient: 'fay'}, 'three');
    await fay.sees(['one', 'two', 'three']);
    // Connections that break now and then are nothing that is seen.
    const more = [];
    for (let i = 0; i < 6; ++i) {
      world.relay.cut();
      more.push(`more ${i}`);
      await until(() => world.say('gus', {recipient: 'fay'}, `more ${i}`), 'it is sent');
    }
    await fay.sees(['one', 'two', 'three', ...more]);
    assert.strictEqual((await fay.texts()).length, 9);
    await fay.end();
  },

  async 'after a reload nothing is missing: what came meanwhile counts as unread'({world, browser}) {
    const hal = await Reader.begin(world, browser, {name: 'hal'});
    await hal.open('ida');
    await hal.write('hello');
    await hal.sees(['hello']);
    await hal.page.goto('about:blank').catch(() => {});
    for (let i = 0; i < 3; ++i) await world.say('jo', {recipient: 'hal'}, `knock ${i}`);
    await hal.page.goto(hal.origin);
    const link = hal.page.getByRole('link', {name: /jo.*3 messages unread/});
    await link.waitFor();
    await link.click();
    await hal.sees(['knock 0', 'knock 1', 'knock 2']);
    await until(async () => await hal.page.title() === 'ChatChain', 'all has been read');
    await hal.page.reload();
    await hal.sees(['knock 0', 'knock 1', 'knock 2']);
    assert.strictEqual(await hal.page.title(), 'ChatChain');
    // Another person in the same browser sees nothing of it.
    await hal.page.click('#rename');
    await hal.enter('kim');
    await hal.page.getByText('No conversations yet').waitFor();
    await hal.end();
  },

  async 'two tabs of one person show and send everything once'({world, browser}) {
    const lea = await Reader.begin(world, browser, {name: 'lea', outage: true});
    await lea.open('max');
    const second = await lea.tab();
    await second.goto(`${lea.origin}/#/user/max`);
    await second.locator('#composer').waitFor();
    await lea.write('from the first');
    await lea.sees(['from the first'], second);
    await world.relay.close();
    await lea.untilLine(/^The server cannot be reached/);
    await lea.write('kept by one');
    await second.fill('#text', 'kept by the other');
    await second.press('#text', 'Enter');
    for (const page of [lea.page, second]) {
      await until(async () => await page.locator('.message.waiting').count() === 2, 'both show both');
    }
    await world.relay.open();
    for (const page of [lea.page, second]) {
      await lea.sees(['from the first', 'kept by one', 'kept by the other'], page);
      assert.strictEqual((await lea.texts(page)).length, 3);
    }
    const {messages} = await world.get('/messages?sender=lea');
    assert.strictEqual(messages.length, 3);
    await lea.end();
  },

  async 'history comes as one scrolls up, stays in its place, and is bounded'({world, browser}) {
    const count = 640;
    await world.post('/messages/batch', {messages: Array.from({length: count}, (_, i) => (
      {sender: i % 3 ? 'noa' : 'oli', room: 'long tales', text: `tale ${i}${'\nand on it goes'.repeat(i % 4)}`}))});
    const reader = await Reader.begin(world, browser, {name: 'noa'});
    await reader.open('long tales', 'room');
    await reader.sees([`tale ${count - 1}${'\nand on it goes'.repeat((count - 1) % 4)}`]);
    const {page} = reader;
    const first = () => page.locator('.bubble').first().textContent();
    const rows = () => page.locator('.message').count();
    // To the top, again and again: what was at the top stays where it was on the screen.
    for (let turns = 0; !(await first()).startsWith('tale 0'); ++turns) {
      assert.ok(turns < 40, `still at ${await first()}`);
      const moved = await page.evaluate(async () => {
        const scroller = document.getElementById('scroller');
        const list = document.getElementById('messages');
        scroller.scrollTop = 60;
        const seen = [...list.querySelectorAll('.message')].find(
          (each) => each.getBoundingClientRect().bottom > scroller.getBoundingClientRect().top);
        const firstKey = () => list.querySelector('.message').dataset.key;
        const before = {key: firstKey(), y: seen.getBoundingClientRect().top};
        for (let i = 0; i < 300 && firstKey() === before.key; ++i) {
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        return seen.isConnected ? Math.abs(seen.getBoundingClientRect().top - before.y) : 0;
      });
      assert.ok(moved < 3, `moved by ${moved} px`);
      assert.ok(await rows() <= 300, 'the page has a bound');
    }
    await page.getByText('This is where it begins.').waitFor();
    // What comes now is below what is held; one gets there by scrolling, or at once.
    await world.say('oli', {room: 'long tales'}, 'the newest tale');
    for (let turns = 0; !(await reader.texts()).includes('the newest tale'); ++turns) {
      assert.ok(turns < 200, 'scrolling down ends');
      const last = await page.locator('.bubble').last().textContent();
      await page.evaluate(() => {
        const scroller = document.getElementById('scroller');
        scroller.scrollTop = scroller.scrollHeight;
      });
      await until(async () => await page.locator('.bubble').last().textContent() !== last, 'more below');
      assert.ok(await rows() <= 300, 'the page has a bound');
    }
    for (let i = 0; i < 4; ++i) {
      const before = await first();
      await page.evaluate(() => { document.getElementById('scroller').scrollTop = 0; });
      await until(async () => await first() !== before, 'more above');
    }
    await reader.picture('history');
    await page.getByRole('button', {name: 'Newest messages'}).click();
    await reader.sees(['the newest tale']);
    await until(() => page.evaluate(() => {
      const {scrollTop, scrollHeight, clientHeight} = document.getElementById('scroller');
      return scrollHeight - scrollTop - clientHeight < 2;
    }), 'the end is on the screen');
    await reader.end();
  },

  async 'without WebSockets the page lives on event streams, and rooms do too'({world, browser}) {
    const pia = await Reader.begin(world, browser);
    await pia.context.routeWebSocket(/\/ws$/, (socket) => socket.close());
    await pia.page.reload();
    await pia.enter('pia');
    await pia.open('the pond', 'room');
    await pia.untilLine(/live, by events$/);
    await pia.write('quack');
    await pia.sees(['quack']);
    await world.say('quentin', {room: 'the pond'}, 'quack quack');
    await pia.sees(['quack', 'quack quack']);
    world.relay.cut();
    pia.outage = true;
    await until(() => world.say('quentin', {recipient: 'pia'}, 'psst'), 'it is sent');
    await pia.page.getByRole('link', {name: /quentin.*1 message unread/}).waitFor();
    await world.say('quentin', {room: 'the pond'}, 'splash');
    await pia.sees(['quack', 'quack quack', 'splash']);
    await pia.end();
  },

  async 'the EventSource of a browser comes back by itself, and misses nothing'({world, browser}) {
    const reader = await Reader.begin(world, browser, {outage: true});
    await reader.page.evaluate(() => {
      window.got = [];
      window.opened = 0;
      window.source = new EventSource('/messages/stream?after=begin&room=stream');
      source.onopen = () => ++window.opened;
      source.addEventListener('message', (event) => {
        window.got.push([JSON.parse(event.data).text, event.lastEventId !== '']);
      });
    });
    const sent = [];
    for (let i = 0; i < 6; ++i) {
      if (i === 2 || i === 4) {
        const opened = await reader.page.evaluate(() => window.opened);
        world.relay.cut();
        // While it is away, and after it came back.
        await until(() => world.say('bot', {room: 'stream'}, `away ${i}`), 'it is sent');
        sent.push([`away ${i}`, true]);
        await until(async () => await reader.page.evaluate(() => window.opened) > opened, 'it came back');
      }
      if (i === 3) await world.kill(2);
      await world.say('bot', {room: 'stream'}, `event ${i}`);
      sent.push([`event ${i}`, true]);
    }
    await until(async () => (await reader.page.evaluate(() => window.got)).length >= sent.length, 'all came');
    // In the order in which a node got them, which need not be that of their senders.
    const byText = (a, b) => (a[0] < b[0] ? -1 : 1);
    const got = await reader.page.evaluate(() => window.got);
    assert.deepStrictEqual(got.sort(byText), sent.sort(byText));
    await world.startNode(2);
    await world.untilReady(3);
    await reader.end();
  },

  async 'a message that is refused says why, and can be sent again'({world, browser}) {
    const rob = await Reader.begin(world, browser, {name: 'rob', outage: true});
    await rob.open('sue');
    const keys = [];
    let refuse = true;
    await rob.page.route('**/messages', (route) => {
      if (route.request().method() === 'POST') keys.push(route.request().headers()['idempotency-key']);
      return refuse ? route.fulfill({status: 422, contentType: 'application/problem+json',
        body: JSON.stringify({type: 'about:blank', title: 'Unprocessable Content', status: 422,
          detail: 'text: is not nice'})}) : route.continue();
    });
    await rob.write('grumble');
    await rob.page.getByText('Not sent: text: is not nice').waitFor();
    await rob.checkRoles();
    await rob.picture('refused');
    refuse = false;
    await rob.page.getByRole('button', {name: 'Try again'}).click();
    await rob.sees(['grumble']);
    assert.deepStrictEqual(keys, [keys[0], keys[0]]);
    assert.match(keys[0], /^[0-9a-f-]{36}$/);
    await rob.end();
  },

  async 'on a phone it is the list or the conversation'({world, browser}) {
    const phone = {viewport: {width: 390, height: 800}, deviceScaleFactor: 2, hasTouch: true, isMobile: true};
    await world.say('王小明', {recipient: 'tom'}, '明天见！');
    await world.say('ليلى', {recipient: 'tom'}, 'مرحبا، كيف حالك؟');
    await world.say('tom', {room: 'garden'}, 'who waters the beans?');
    await world.say('uma', {room: 'garden'}, 'me, tonight');
    const tom = await Reader.begin(world, browser, {name: 'tom', ...phone});
    await tom.page.getByRole('link', {name: /garden/}).waitFor();
    await tom.page.getByRole('link', {name: /王小明/}).waitFor();
    await tom.checkRoles();
    await tom.picture('phone-list');
    await tom.page.getByRole('link', {name: /garden/}).tap();
    await tom.sees(['who waters the beans?', 'me, tonight']);
    assert.ok(await tom.page.locator('#list').isHidden());
    await tom.write('thank you 🌱');
    await tom.sees(['thank you 🌱']);
    const wide = await tom.page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(wide <= 390, `${wide} px wide`);
    await tom.checkRoles();
    await tom.picture('phone-conversation');
    await tom.page.emulateMedia({colorScheme: 'dark'});
    await tom.picture('phone-dark');
    await tom.page.getByRole('link', {name: /Back/}).tap();
    await tom.page.getByRole('link', {name: /garden/}).waitFor();
    await tom.end();
  },
};

(async () => {
  fs.mkdirSync(picturesDir, {recursive: true});
  const world = new World(binDir);
  let failed = 0;
  let browser;
  try {
    await world.start(3);
    browser = await chromium.launch({executablePath: browserPath, args: ['--disable-dev-shm-usage']});
    for (const [name, test] of Object.entries(cases)) {
      if (only && !name.includes(only)) continue;
      const begin = Date.now();
      try {
        await test({world, browser});
        console.log(`ok    ${name} (${Date.now() - begin} ms)`);
      } catch (error) {
        ++failed;
        console.log(`FAIL  ${name}\n${error.stack}\n${world.log()}`);
        for (const context of browser.contexts()) {
          for (const [i, page] of context.pages().entries()) {
            const picture = path.join(picturesDir, `failed-${failed}-${i}.png`);
            await page.screenshot({path: picture}).catch(() => {});
          }
          await context.close();
        }
        // The next case begins with a whole network.
        if (!world.relay.server.listening) await world.relay.open();
        for (const i of [0, 1, 2]) {
          if (world.nodes[i].child.exitCode !== null || world.nodes[i].child.signalCode !== null) {
            await world.startNode(i);
          }
        }
        await world.untilReady(3);
      }
    }
  } catch (error) {
    ++failed;
    console.log(error.stack);
  }
  await browser?.close();
  await world.stop();
  console.log(`pictures: ${picturesDir}`);
  process.exitCode = failed === 0 ? 0 : 1;
})();
