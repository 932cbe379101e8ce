# A release that cannot be built: each instance says so, and nothing is tried again.
0 assign 1 3
  prepare hello release 2
1 broken 1
  report instance.failed 1 Build no
  report instance.failed 3 Build no
100000 tick
2 assign 1 3
# Retired, it is gone at once.
3 assign 3
  report instance.stopped 1
  forget 1
4 gone 1
