# A stranger has the port: the King is told and gives another one.
0 assign 1:20000
  prepare hello release 2
1 ready 1
  start 1 on [20000]
2 taken 1 20000
  report instance.port-taken 1 20000
3 assign 1:20000
4 assign 1:20007
  start 1 on [20007]
5 started 1 11
  report instance.started 1 pid 11
# Other ports while it runs: stopped, and started with them.
6 assign 1:20008
  signal 1 Terminate
7 exited 1 11 -
  start 1 on [20008]
8 started 1 12
  report instance.started 1 pid 12
# Other ports while it is being started.
9 exited 1 12 1
  report instance.exited 1 pid 12 code Some(1), again in 0 ms
  start 1 on [20008]
10 assign 1:20009
11 started 1 13
  report instance.started 1 pid 13
  signal 1 Terminate
12 exited 1 13 -
  start 1 on [20009]
13 started 1 14
  report instance.started 1 pid 14
# Told nothing new, it tries again.
14 exited 1 14 1
  report instance.exited 1 pid 14 code Some(1), again in 100 ms
114 tick
  at 114: start 1 on [20009]
115 taken 1 20009
  report instance.port-taken 1 20009
10115 tick
  at 10115: start 1 on [20009]
