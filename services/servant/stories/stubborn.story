# What does not end is killed, and again for as long as it lives: an order may be lost.
0 assign 1
  prepare hello release 2
1 ready 1
  start 1 on [20000]
2 started 1 11
  report instance.started 1 pid 11
10 assign
  signal 1 Terminate
12000 tick
  at 1010: signal 1 Kill
  at 6010: signal 1 Kill
  at 11010: signal 1 Kill
12001 exited 1 11 -
  report instance.stopped 1
  forget 1
12002 gone 1
