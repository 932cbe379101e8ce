# The servant is back: one instance runs, one crashed meanwhile, one is no longer wanted.
0 known 1 running 11
0 known 3 exited 33
  report instance.exited 3 pid 33 code Some(1), again in 0 ms
  prepare hello release 2
0 known 5 running 55
1 ready 3
  start 3 on [20000]
2 started 3 34
  report instance.started 3 pid 34
# Until an assignment is seen, nothing is stopped.
10 tick
  at 10: check 1 run 1 port 20000
  at 10: check 5 run 1 port 20000
10 passed 1 1
  report instance.ready 1
20 assign 1 3
  signal 5 Terminate
21 exited 5 55 -
  report instance.stopped 5
  forget 5
22 gone 5
