# A restart that was ordered goes through the workers one by one: the new one first, then the old one ends.
0 workers 2 2
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
1004 restarts 1
1005 assign 1
  start 1/2 on [20000]
1006 started 1/2 12
  report instance.started 1/2 pid 12
# It counts once it has been alive for a while.
2005 tick
2006 tick
  at 2006: signal 1 Terminate
2008 ended 1/0 10
  start 1 on [20000]
2009 started 1/0 20
  report instance.started 1/0 pid 20
3009 tick
  at 3009: signal 1/1 Terminate
3011 ended 1/1 11
# A new one that never becomes ready leaves the old ones alone.
3020 restarts 2
3021 assign 1
  start 1/1 on [20000]
3022 started 1/1 30
  report instance.started 1/1 pid 30
3023 exited 1/1 30 1
  report instance.exited 1/1 pid 30 code Some(1), again in 0 ms
  start 1/1 on [20000]
3024 started 1/1 31
  report instance.started 1/1 pid 31
3025 exited 1/1 31 1
  report instance.exited 1/1 pid 31 code Some(1), again in 100 ms
# The next restart replaces first what never became ready.
3030 restarts 3
3031 assign 1
  start 1/1 on [20000]
3032 started 1/1 32
  report instance.started 1/1 pid 32
4032 tick
  at 4032: signal 1 Terminate
