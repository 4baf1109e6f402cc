// What frames the page: tabs and keys by name, light and dark, and the line that says where one is.
const TABS = [
  ['overview', 'Overview'],
  ['queues', 'Queues'],
  ['workers', 'Workers'],
  ['tenants', 'Tenants'],
  ['operations', 'Operations']
]
const KEYS = [
  ['1 – 5', 'Go to a tab'],
  ['p', 'Pause or resume processing'],
  ['r', 'Read the figures now'],
  ['/', 'Filter or search'],
  ['d', 'Dark or light'],
  ['?', 'This list'],
  ['Esc', 'Close a dialog; nothing is changed'],
  ['Enter', 'Confirm, once YES is typed']
]

const masthead = (page, root) => {
  const {environment, risk, where, who, mode} = page.constants
  const clock = el('span', {class: 'clock'})
  const toggle = button('', () => page.turn(), {look: 'moon', label: 'Toggle theme', kind: 'quiet round'})
  const help = button('', () => page.help(help), {look: 'help', label: 'Keyboard shortcuts', kind: 'quiet round'})
  return {
    node: el(
      'header',
      {class: 'masthead', 'data-risk': risk},
      el('span', {class: 'mark', text: 'opsdash'}),
      environment && el('span', {class: 'env', text: environment, title: `Environment: ${environment}`}),
      el('span', {class: 'where', text: where, title: where}),
      clock,
      el('span', {class: 'who', text: who}),
      mode && el('span', {class: 'dev', text: mode}),
      help,
      toggle
    ),
    update({status}) {
      put(
        clock,
        status.read_at ? `Figures of ${utc(status.read_at)} UTC · ${local(status.read_at)} here` : 'No figures yet'
      )
    },
    paint() {
      toggle.replaceChildren(icon(root.dataset.theme === 'dark' ? 'moon' : 'sun'))
    }
  }
}
