# What is never restarted is not when it is unhealthy either, and that is told.
0 restart never
0 assign 1
  prepare hello release 2
1 ready 1
  start 1 on [20000]
2 started 1 11
  report instance.started 1 pid 11
3 failed 1 1
5002 tick
  at 13: check 1 run 1 port 20000
5003 failed 1 1
  report instance.unhealthy 1 not healthy 5001 ms after its start: refused
  signal 1 Terminate
5004 exited 1 11 -
  report instance.failed 1 Start it was unhealthy, and its restart is `never`
9000 tick
