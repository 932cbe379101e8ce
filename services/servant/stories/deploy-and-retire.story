# Two instances of one release: it is prepared once, both start, become healthy, and leave when they are assigned no more.
0 assign 1 3:20001
  prepare hello release 2
10 ready 1
  start 1 on [20000]
  start 3 on [20001]
12 started 1 101
  report instance.started 1 pid 101
12 started 3 103
  report instance.started 3 pid 103
22 tick
  at 22: check 1 run 1 port 20000
  at 22: check 3 run 1 port 20001
23 failed 1 1
24 passed 3 1
  report instance.ready 3
# The time between checks grows until the first passes.
60 tick
  at 33: check 1 run 1 port 20000
61 passed 1 1
  report instance.ready 1
# Retired: SIGTERM, and SIGKILL after the grace.
100 assign 1
  signal 3 Terminate
1100 tick
  at 1061: check 1 run 1 port 20000
  at 1100: signal 3 Kill
1101 exited 3 103 -
  report instance.stopped 3
  forget 3
1102 gone 3
# What comes late means nothing.
1103 passed 3 1
1104 exited 3 103 1
