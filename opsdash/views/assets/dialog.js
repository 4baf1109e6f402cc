// Dialogs, built when they are asked for. What a dialog asks, shows and allows comes from the server; typing YES is
// judged there too, and Console.run judges it once more.
const modal = (root, {title, wide, kind, onclose, opener, fallback}, ...parts) => {
  const heading = el('h2', {id: unique('dialog'), text: title})
  const node = el(
    'dialog',
    {
      class: ['modal', wide && 'wide', kind].filter(Boolean).join(' '),
      'aria-modal': 'true',
      'aria-labelledby': heading.id
    },
    heading,
    ...parts
  )
  const focusable = () =>
    [...node.querySelectorAll('button, input, select, [tabindex="0"]')].filter(
      (n) => !n.disabled && n.offsetParent !== null
    )
  node.addEventListener('keydown', (event) => {
    if (event.key !== 'Tab') return
    const stops = focusable(),
      at = node.getRootNode().activeElement
    const edge = event.shiftKey ? stops[0] : stops[stops.length - 1]
    if (at === edge || at === node) {
      event.preventDefault()
      ;(event.shiftKey ? stops[stops.length - 1] : stops[0])?.focus()
    }
  })
  node.addEventListener('click', (event) => {
    if (event.target === node) node.close()
  }) // the backdrop
  node.addEventListener('close', () => {
    node.remove()
    onclose?.()
    const back = opener?.isConnected && !opener.disabled ? opener : fallback?.()
    back?.focus()
  })
  root.append(node)
  node.showModal()
  return node
}

const dialogs = (root, send, whole = true) => {
  let shown = null
  const keep = () => {
    if (shown && whole) remember('half', {name: shown.name, args: shown.args, values: shown.values()}, sessionStorage)
  }
  const tiles = (given) =>
    given.map(({label, value, unit, exactness}) =>
      el(
        'div',
        {class: 'tile', 'data-exactness': exactness},
        el('strong', {text: figure(value, exactness)}, ...(unit ? [el('small', {text: ` ${unit}`})] : [])),
        el('span', {text: exactness === 'old' ? `${label}, as last reported` : label})
      )
    )
  const figure = (value, exactness) => `${exactness === 'estimated' ? '≈ ' : ''}${number(value, value % 1 ? 1 : 0)}`
  // Of what was estimated no share is exact, and none is all: rare kinds may be missing.
  const share = (n, error, total, exactness) => {
    const part = (100 * n) / total
    if (exactness !== 'estimated') return `${number(n)} · ${number(part)} %`
    if (!n) return `up to ${number(error || 0)}`
    return `≈ ${number(n)} · ${part > 99 ? '> 99' : `≈ ${number(part)}`} %`
  }
  const kinds = ({label, parts: bar, exactness}) => {
    const total = bar.reduce((sum, [, n]) => sum + n, 0)
    if (!total) return []
    return [
      el(
        'div',
        {class: 'kinds', 'aria-hidden': 'true'},
        ...bar.map(([, n], i) => {
          const part = el('span', {'data-hue': i})
          part.style.flexGrow = n
          return part
        })
      ),
      el(
        'ul',
        {class: 'legend', 'aria-label': label},
        ...bar.map(([name, n, error], i) =>
          el(
            'li',
            {},
            el('span', {class: 'swatch', 'data-hue': i}),
            el('span', {class: 'name', text: name, title: name}),
            el('span', {class: 'share', text: share(n, error, total, exactness)})
          )
        )
      )
    ]
  }
  const onEnter = (input, act) => {
    input.onkeydown = (event) => {
      if (event.key !== 'Enter' || event.isComposing) return
      event.preventDefault()
      if (!event.repeat) act() // a key held down has not read what came up meanwhile
    }
  }
  const field = ({name, label, kind, placeholder}, value, change) => {
    const flag = kind === 'flag',
      input = el('input', {type: flag ? 'checkbox' : 'text', autocomplete: 'off', placeholder, name})
    if (flag) input.checked = value === true
    else input.value = value || ''
    input.onchange = change
    input.oninput = keep
    return [
      input,
      el(
        'label',
        {class: flag ? 'flag' : 'field'},
        ...(flag ? [input, el('span', {text: label})] : [el('span', {text: label}), input])
      )
    ]
  }
  const close = (id) => {
    if (shown && (id == null || shown.id === id)) {
      shown.done = true
      shown.node.close()
      shown.node.remove() // its close event comes later, and perhaps after the next dialog
    }
  }

  const ask = (msg, opener, fallback) => {
    close()
    const inputs = new Map(),
      warning = el('p', {class: 'warning', text: msg.warning}),
      review = el('div', {class: 'review'})
    const problem = el('p', {class: 'problem', role: 'alert'}),
      fields = el('div', {class: 'fields'})
    const typed = el('input', {type: 'text', autocomplete: 'off', spellcheck: 'false'}),
      phrase = el('input', {type: 'text', autocomplete: 'off', spellcheck: 'false'})
    const second = el('label', {class: 'field'}, el('span'), phrase)
    const confirm = button('Confirm', () => submit(), {kind: msg.danger ? 'filled danger' : 'filled'})
    confirm.disabled = true
    const values = () =>
      Object.fromEntries(
        [...inputs].map(([name, input]) => [name, input.type === 'checkbox' ? input.checked : input.value])
      )
    // Enter is faster than the server's word that Confirm is armed: it waits for that word. It is forgotten by whatever
    // is typed after it, and by a review that says something new: what one confirms is what one has seen.
    let waits = false,
      filling = 0,
      filled = null,
      said = null
    const submit = () => {
      if (!confirm.disabled) {
        confirm.disabled = true
        send({type: 'confirm', id: msg.id, values: values()})
      }
    }
    const arm = (armed) => {
      confirm.disabled = !armed
      if (!armed || !waits || filling) return
      waits = false
      submit()
    }
    const enter = () => {
      waits = confirm.disabled || filling > 0
      if (!waits) submit()
    }
    const type = () => send({type: 'typed', id: msg.id, text: typed.value, phrase: phrase.value})
    const change = () => {
      keep()
      const now = JSON.stringify(values())
      if (now === filled) return
      filled = now
      filling += 1
      send({type: 'fill', id: msg.id, values: values()})
    }
    for (const input of [typed, phrase]) {
      input.oninput = type
      onEnter(input, enter)
    }
    const restored = msg.half || {}
    for (const given of msg.fields) {
      const [input, label] = field(given, restored[given.name], change)
      if (input.type === 'text')
        onEnter(input, () => {
          change()
          enter()
        })
      inputs.set(given.name, input)
      fields.append(label)
    }
    const show = (given, answer = false) => {
      if (answer) filling = Math.max(0, filling - 1)
      const now = JSON.stringify([given.tiles, given.bars, given.lines, given.phrase, given.problem])
      if (now !== said) waits = false
      said = now
      put(problem, given.problem || '')
      problem.classList.toggle('hint', given === msg) // nothing has been filled in yet: no mistake
      second.hidden = !given.phrase
      put(second.firstChild, `Type ${given.phrase} too`)
      review.replaceChildren(
        ...(given.tiles.length ? [el('div', {class: 'tiles'}, ...tiles(given.tiles))] : []),
        ...given.bars.flatMap(kinds),
        el('ul', {class: 'lines'}, ...given.lines.map(([text, kind]) => el('li', {'data-kind': kind, text})))
      )
    }
    show(msg)
    const node = modal(
      root,
      {
        title: msg.title,
        kind: msg.danger ? 'danger' : '',
        opener,
        fallback,
        onclose: () => {
          if (!mine.done) send({type: 'close', id: msg.id})
          if (shown !== mine) return
          forget('half', sessionStorage)
          shown = null
        }
      },
      ...msg.about.map(([label, value]) =>
        el('p', {class: 'about'}, el('span', {class: 'mute', text: `${label} `}), el('strong', {text: value}))
      ),
      warning,
      review,
      fields,
      problem,
      el('label', {class: 'field'}, el('span', {text: 'Type YES to confirm'}), typed),
      second,
      el(
        'div',
        {class: 'acts'},
        button('Cancel', () => node.close(), {kind: 'quiet'}),
        confirm
      )
    )
    node.addEventListener('input', () => {
      waits = false
    })
    const mine = {id: msg.id, name: msg.name, args: msg.args, node, values, show, arm}
    shown = mine
    const first = msg.problem ? [...inputs.values()][0] : null
    ;(first || typed).focus()
    keep()
    if (Object.keys(restored).length) change()
  }
  const tell = (title, {opener, wide}, ...parts) => {
    const node = modal(
      root,
      {title, wide, opener},
      ...parts,
      el(
        'div',
        {class: 'acts'},
        button('Close', () => node.close())
      )
    )
    ;(node.querySelector('.wrap') || node.querySelector('.acts button')).focus({preventScroll: true})
    node.scrollTop = 0 // at its beginning, where it is long
  }
  return {
    ask,
    tell,
    close,
    get open() {
      return root.querySelector('dialog[open]') !== null
    },
    review(msg) {
      if (shown?.id === msg.id) shown.show(msg, true)
    },
    armed(msg) {
      if (shown?.id === msg.id) shown.arm(msg.armed)
    }
  }
}
