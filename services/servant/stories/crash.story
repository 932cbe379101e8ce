# A crash is repaired at once, the next ones after growing waits; the fifth within a minute is a loop.
0 assign 1
  prepare hello release 2
1 ready 1
  start 1 on [20000]
2 started 1 11
  report instance.started 1 pid 11
10 exited 1 11 1
  report instance.exited 1 pid 11 code Some(1), again in 0 ms
  start 1 on [20000]
12 started 1 12
  report instance.started 1 pid 12
20 exited 1 12 1
  report instance.exited 1 pid 12 code Some(1), again in 100 ms
120 tick
  at 120: start 1 on [20000]
121 started 1 13
  report instance.started 1 pid 13
130 exited 1 13 1
  report instance.exited 1 pid 13 code Some(1), again in 200 ms
330 tick
  at 330: start 1 on [20000]
331 started 1 14
  report instance.started 1 pid 14
340 exited 1 14 1
  report instance.exited 1 pid 14 code Some(1), again in 400 ms
740 tick
  at 740: start 1 on [20000]
741 started 1 15
  report instance.started 1 pid 15
750 exited 1 15 1
  report instance.exited 1 pid 15 code Some(1), again in 800 ms
  report instance.looping 1 5 crashes
1550 tick
  at 1550: start 1 on [20000]
1551 started 1 16
  report instance.started 1 pid 16
1561 tick
  at 1561: check 1 run 6 port 20000
1562 passed 1 6
  report instance.ready 1
# Healthy for long enough, it is steady again.
4562 tick
  at 2562: check 1 run 6 port 20000
  at 4562: report instance.steady 1
