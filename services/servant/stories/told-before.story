# The servant died after it had told an instance to end: that end is no crash.
0 known 1 running 11
1 ended 1 11
  prepare hello release 2
2 ready 1
  start 1 on [20000]
3 started 1 12
  report instance.started 1 pid 12
