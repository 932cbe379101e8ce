# What exits with 0 and is restarted only on failure stays ended.
0 restart on-failure
0 assign 1
  prepare hello release 2
1 ready 1
  start 1 on [20000]
2 started 1 11
  report instance.started 1 pid 11
3 exited 1 11 0
  report instance.exited 1 pid 11 code Some(0), again never
100000 tick
# A failure is repaired.
100001 assign 1 3
  start 3 on [20000]
100002 started 3 31
  report instance.started 3 pid 31
100003 exited 3 31 1
  report instance.exited 3 pid 31 code Some(1), again in 0 ms
  start 3 on [20000]
# Never means never.
100004 restart never
100005 assign 2
  report instance.stopped 1
  forget 1
  prepare hello release 1
100006 ready 2
  start 2 on [20000]
100007 started 2 21
  report instance.started 2 pid 21
100008 exited 2 21 1
  report instance.exited 2 pid 21 code Some(1), again never
