# The servant ends and takes its instances with it: it says that they are stopped, and forgets nothing.
0 assign 1 3
  prepare hello release 2
1 ready 1
  start 1 on [20000]
  start 3 on [20000]
2 started 1 11
  report instance.started 1 pid 11
3 end
  signal 1 Terminate
# What was being started is stopped as soon as it runs.
4 started 3 31
  report instance.started 3 pid 31
  signal 3 Terminate
5 exited 1 11 -
  report instance.stopped 1
  dismiss 1
6 exited 3 31 -
  report instance.stopped 3
  dismiss 3
7 gone 1
8 gone 3
# From here an assignment changes nothing.
9 assign 1 3
