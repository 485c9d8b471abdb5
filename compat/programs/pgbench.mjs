/** pgbench: its tables, its transactions in every protocol, eight clients; sums, not times. */
import { output, section } from './tool.mjs'

const settled = (text) =>
  text
    .split('\n')
    .filter((line) => /^number of (?:transactions|failed)|error|FATAL|ended with/i.test(line))
    .join('\n')

const sums = () =>
  output('psql', ['-XAt'], {
    input: `select count(*) from pgbench_accounts;
select (select sum(abalance) from pgbench_accounts) = (select sum(bbalance) from pgbench_branches)
  and (select sum(tbalance) from pgbench_tellers) = (select sum(delta) from pgbench_history),
  (select count(*) from pgbench_history);`,
  })

for (const steps of ['dtgvp', 'dtGvpf']) {
  section(`-i -I ${steps}`)
  console.log(settled(output('pgbench', ['-i', '-I', steps, '-s', '1', '-q'])), sums())
}
for (const mode of ['simple', 'extended', 'prepared']) {
  section(`TPC-B, -c 8 -M ${mode}`)
  output('psql', ['-X'], { input: 'truncate pgbench_history; ' })
  output('pgbench', ['-i', '-I', 'dtgp', '-s', '1', '-q'])
  const args = ['-n', '-c', '8', '-j', '2', '-t', '50', '-M', mode]
  console.log(settled(output('pgbench', args, { timeout: 60_000 })))
  console.log(sums())
  section(`select-only, -c 8 -M ${mode}`)
  console.log(settled(output('pgbench', ['-S', ...args], { timeout: 60_000 })))
}
section('-C, a connection for each transaction')
console.log(settled(output('pgbench', ['-n', '-S', '-C', '-c', '4', '-t', '10'])))
