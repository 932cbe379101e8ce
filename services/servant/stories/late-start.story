# A start that was taken for lost turns out to run: it is not started again.
0 assign 1
  prepare hello release 2
1 ready 1
  start 1 on [20000]
2 lost 1
3 started 1 11
  report instance.started 1 pid 11
2000 tick
  at 13: check 1 run 1 port 20000
