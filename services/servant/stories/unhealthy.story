# Two checks in a row fail: it is stopped and started again, and that counts as a crash.
0 assign 1
  prepare hello release 2
1 ready 1
  start 1 on [20000]
2 started 1 11
  report instance.started 1 pid 11
12 tick
  at 12: check 1 run 1 port 20000
13 passed 1 1
  report instance.ready 1
1013 tick
  at 1013: check 1 run 1 port 20000
1014 failed 1 1
2014 tick
  at 2014: check 1 run 1 port 20000
2015 failed 1 1
  report instance.unhealthy 1 2 checks in a row failed: refused
  signal 1 Terminate
2016 exited 1 11 -
  start 1 on [20000]
2018 started 1 12
  report instance.started 1 pid 12
# Never healthy within its grace of 5 s.
2028 tick
  at 2028: check 1 run 2 port 20000
2029 failed 1 2
7018 tick
  at 2039: check 1 run 2 port 20000
7019 failed 1 2
  report instance.unhealthy 1 not healthy 5001 ms after its start: refused
  signal 1 Terminate
7020 exited 1 12 -
7120 tick
  at 7120: start 1 on [20000]
