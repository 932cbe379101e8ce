# Workers are started together; the instance is ready when the fewest are, and the crash of one is its own affair.
0 workers 2 4
0 assign 1
  report instance.scaled 1 from 0 to 2
  prepare hello release 2
1 ready 1
  start 1 on [20000]
  start 1/1 on [20000]
2 started 1/0 10
  report instance.started 1/0 pid 10
2 started 1/1 11
  report instance.started 1/1 pid 11
1002 tick
  at 1002: report instance.ready 1
1100 exited 1/1 11 1
  report instance.exited 1/1 pid 11 code Some(1), again in 0 ms
  start 1/1 on [20000]
1101 started 1/1 21
  report instance.started 1/1 pid 21
1102 exited 1/1 21 1
  report instance.exited 1/1 pid 21 code Some(1), again in 100 ms
1202 tick
  at 1202: start 1/1 on [20000]
1203 started 1/1 31
  report instance.started 1/1 pid 31
# Busy for long enough, they become more.
2000 load 1 90
4000 load 1 90
7000 load 1 90
  report instance.scaled 1 from 2 to 3
  start 1/2 on [20000]
7001 started 1/2 12
  report instance.started 1/2 pid 12
8001 tick
# With all of them gone nothing is ready any more; the holder is let go when the last has ended.
8010 exited 1/0 10 1
  report instance.exited 1/0 pid 10 code Some(1), again in 0 ms
  start 1 on [20000]
8011 exited 1/1 31 1
  report instance.exited 1/1 pid 31 code Some(1), again in 200 ms
8012 exited 1/2 12 1
  report instance.exited 1/2 pid 12 code Some(1), again in 0 ms
  report instance.unhealthy 1 none of its workers is ready
  start 1/2 on [20000]
8013 started 1/0 40
  report instance.started 1/0 pid 40
8014 assign
  signal 1 Terminate
8015 ended 1/0 40
8016 lost 1/2
  report instance.stopped 1
  forget 1
8020 gone 1
