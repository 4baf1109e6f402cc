// One part of the page by itself: in a notebook, in a template, beside other things. It knows no address, hears no
// keys but its own, and never reloads anything.
const PARTS = {
  workers: (page) => [workerHealth(page)],
  queues: (page) => [queueOperations(page)],
  chart: (page, frame) => [charts(page, frame)],
  log: (page) => [operationsLog(page)],
  tenants: (page) => [tenantConfiguration(page), noTenants()],
  controls: (page) => [standing(), workerControl(page), acting(page), noTenants()]
}

const standing = () => {
  const title = el('strong'), story = el('p', {class: 'mute'})
  const notices = el('div', {class: 'notices', role: 'status'})
  const node = el('div', {}, notices, el('div', {class: 'state', role: 'status'}, dot(), title, story))
  return {
    node,
    update({status}) {
      node.lastChild.dataset.tone = status.tone
      put(title, `Processing Status: ${status.word}`)
      put(story, [status.story, status.drain].filter(Boolean).join(' '))
      put(notices, status.notices.join(' '))
    }
  }
}

const acting = (page) => {
  const choose = el('select', {'aria-label': 'Queue to clear', onchange: () => (page.view.queue = choose.value)})
  const clear = button('Clear Queue', () => page.ask('clear_queue', {queue: choose.value}, clear), {look: 'clear', kind: 'danger'})
  const sync = button('Sync Tenant Configs', () => page.ask('sync_tenant_configs', {}, sync), {look: 'sync'})
  const node = section('Queues and Tenants', [], {acts: [choose, clear, sync], place: 'control'})
  let known = ''
  return {
    node,
    update({queues, controls, tenants}, view) {
      put(node.querySelector('h2'), tenants.shown ? 'Queues and Tenants' : 'Queues')
      sync.hidden = !tenants.shown
      const rows = ROWS(queues).sort(byRank), names = JSON.stringify(rows.map((row) => row.key))
      if (names !== known) {
        known = names
        choose.replaceChildren(...rows.map(({key}) => el('option', {value: key, text: key})))
        if (rows.some((row) => row.key === view.queue)) choose.value = view.queue
      }
      gate(clear, controls.clear && rows.length)
      gate(sync, controls.sync)
    }
  }
}

export function render({model}) {
  const root = el('div', {class: 'ops embedded'}), theme = theming(model, root)
  const view = {tab: model.home, queue: model.queue, find: '', open: [], span: '15m', charted: model.queue, log: {}, compared: false}
  let state = merge(Object.create(null), JSON.parse(model.state)), seq = model.seq, skew = 0, pieces = []
  let opener = null, fallback = null
  const send = (msg, from) => {
    if (from) opener = from
    model.send_msg(msg)
  }
  const page = {
    view, send, constants: JSON.parse(model.constants),
    now: () => ((state.status.stale || signal.lost) && state.status.read_at) || Date.now() / 1000 + skew,
    ask(name, args, from, other = null, half = {}) {
      opener = from
      fallback = other
      send({type: 'ask', name, args, half})
    },
    choose(name) {
      view.queue = name
      page.redraw()
      send({type: 'choose', queue: name})
    },
    chart() {
      page.redraw()
      send({type: 'chart', queue: view.charted, span: view.span, dark: root.dataset.theme === 'dark'})
    },
    address() {},
    redraw() {
      for (const card of cards) card.update(state, view)
    }
  }
  const cards = PARTS[model.part](page, model.part === 'chart' ? model.get_child('chart') : null)
  const signal = signals(model, send), dialog = dialogs(root, send, false)
  const deck = el('div', {class: 'deck stack', 'data-tab': view.tab}, ...cards.map((card) => card.node))
  root.append(deck, ...signal.nodes)
  const update = () => {
    skew = state.now - Date.now() / 1000
    deck.classList.toggle('aged', !!state.status.stale)
    page.redraw()
  }
  const each = (name, ...given) => { for (const card of cards) card[name]?.(...given) }
  const HEARD = {
    patch(msg) {
      if (msg.seq !== seq + 1) return msg.seq > seq && send({type: 'all'})
      seq = msg.seq
      state = merge(state, JSON.parse(msg.patch))
      update()
    },
    all(msg) {
      seq = msg.seq
      state = merge(Object.create(null), JSON.parse(msg.state))
      update()
    },
    dialog: (msg) => dialog.ask(msg, opener, fallback),
    review: (msg) => dialog.review(msg),
    armed: (msg) => dialog.armed(msg),
    close: (msg) => dialog.close(msg.id),
    say: (msg) => signal.say(msg),
    work: (msg) => signal.work(msg),
    ready: () => each('ready'),
    log: (msg) => each('page', msg),
    running: (msg) => each('running', msg),
    charted: (msg) => each('drawn', msg),
    compared(msg) {
      view.compared = true
      each('compared', msg)
      page.redraw()
    },
    peek: (msg) => dialog.tell(`First and last tasks of ${msg.queue}`, {opener, wide: true}, ...peeked(msg, page)),
    piece(msg) {
      pieces.push(msg.text)
      send({type: 'taken'})
    },
    file(msg) {
      save(pieces, msg.name)
      pieces = []
    }
  }
  model.on('msg:custom', (msg) => {
    signal.alive()
    HEARD[msg.type]?.(msg)
  })
  const look = () => {
    if (theme.dress() && model.part === 'chart') page.chart()
  }
  const clockwork = setInterval(() => {
    each('tick', page.now())
    look()
  }, 1000)
  const mounted = () => {
    suppressShortcuts(root)
    root.dataset.theme = ''
    look()
  }
  model.on('after_render', mounted)
  model.on('remove', () => {
    signal.end()
    clearInterval(clockwork)
  })
  root.dataset.theme = 'light'
  update()
  send({type: 'hello', seq})
  return root
}
