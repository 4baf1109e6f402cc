// The messages at both ends of a queue, as the server describes them: redacted, never unpickled.
const peeked = ({rows}, page) => {
  if (!rows.length) return [el('p', {class: 'none', text: 'Nothing waits in this queue.'})]
  const table = keyedTable({
    label: 'Waiting tasks',
    columns: [
      {field: 'position', title: 'Place', kind: 'number'},
      {field: 'name', title: 'Task'},
      {field: 'priority', title: 'Priority', kind: 'number'},
      {field: 'arguments', title: 'Arguments'},
      {field: 'age', title: 'Age'},
      {field: 'retries', title: 'Retries', kind: 'number'},
      {field: 'size', title: 'Size', kind: 'bytes'},
      {field: 'id', title: 'Id', whole: true}
    ]
  })
  table.update(rows, {at: page.now()})
  return [table.node]
}
