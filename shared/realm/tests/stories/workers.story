# Workers: one of them crashes and the instance stays what it was; its restart is ordered; their number is news.

> servant a 20000-20002
  1 servant.joined {"domain":"default","facts":{"servant":"@a","name":"a","capabilities":{},"ports":{"first":20000,"last":20002},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> command c1 app.create {"app":"shop"}
  2 app.created {"app":"shop"}
  3 command.accepted {"id":"c1","command":"app.create"}
> command c2 version.publish {"app":"shop","version":"1.0.0","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"node server.js","ports":["http"],"workers":{"min":2,"max":4,"cpu":70}}}}}
  4 version.published {"app":"shop","version":"1.0.0","commit":null,"archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"node server.js","count":1,"ports":["http"],"restart":"always","stop_grace_ms":10000,"workers":{"min":2,"max":4,"cpu":70}}}}}
  5 command.accepted {"id":"c2","command":"version.publish"}
> command c3 app.deploy {"app":"shop","version":"1.0.0"}
  6 release.created {"app":"shop","release":1,"version":"1.0.0","environments":{"web":{}}}
  7 app.deployed {"app":"shop","release":1,"counts":{"web":1}}
  8 instance.placed {"instance":"i1","app":"shop","process":"web","release":1,"servant":"@a","ports":{"http":20000}}
  9 command.accepted {"id":"c3","command":"app.deploy","release":1}
> report a instance.scaled {"instance":"i1","from":0,"to":2}
  10 instance.workers-scaled {"instance":"i1","from":0,"to":2}
  verdict: "committed"
> report a instance.started {"instance":"i1","pid":1,"slot":0}
  11 instance.started {"instance":"i1","pid":1,"slot":0}
  verdict: "committed"
> report a instance.started {"instance":"i1","pid":2,"slot":1}
  12 instance.started {"instance":"i1","pid":2,"slot":1}
  verdict: "committed"
> report a instance.ready {"instance":"i1"}
  13 instance.became-healthy {"instance":"i1"}
  14 app.settled {"app":"shop","release":1}
  verdict: "committed"
> report a instance.exited {"instance":"i1","pid":2,"signal":9,"uptime_ms":5000,"restart_in_ms":0,"slot":1}
  15 instance.crashed {"instance":"i1","pid":2,"exit":{"signal":9},"uptime_ms":5000,"restart_in_ms":0,"slot":1}
  verdict: "committed"
> report a instance.exited {"instance":"i1","pid":3,"code":1,"uptime_ms":5,"restart_in_ms":0,"slot":1}
  16 instance.crashed {"instance":"i1","pid":3,"exit":{"code":1},"uptime_ms":5,"restart_in_ms":0,"slot":1}
  verdict: "committed"
> report a instance.started {"instance":"i1","pid":4,"slot":1}
  17 instance.started {"instance":"i1","pid":4,"slot":1}
  verdict: "committed"
> report a instance.unhealthy {"instance":"i1","reason":"GET / answered 500","slot":0}
  18 instance.became-unhealthy {"instance":"i1","reason":"GET / answered 500","slot":0}
  verdict: "committed"
> report a instance.scaled {"instance":"i1","from":2,"to":3,"cpu":81}
  19 instance.workers-scaled {"instance":"i1","from":2,"to":3,"cpu":81}
  verdict: "committed"
> report a instance.scaled {"instance":"i1","from":2,"to":3,"cpu":81}
  verdict: "redundant"
> query instance.ls
  {"app":"shop","crashes":2,"instance":"i1","phase":"healthy","pid":2,"ports":{"http":20000},"process":"web","reason":null,"release":1,"servant":"a","since":8000,"version":"1.0.0","workers":3}

# None is ready any more.
> report a instance.unhealthy {"instance":"i1","reason":"none of its workers is ready"}
  20 instance.became-unhealthy {"instance":"i1","reason":"none of its workers is ready"}
  verdict: "committed"
> query app.ls
  {"app":"shop","created_at":2000,"newest":"1.0.0","obstacles":[],"phase":"settling","processes":[{"healthy":0,"old":0,"placed":1,"process":"web","wanted":1}],"release":1,"version":"1.0.0"}
> report a instance.started {"instance":"i1","pid":5,"slot":0}
  21 instance.started {"instance":"i1","pid":5,"slot":0}
  verdict: "committed"
> report a instance.ready {"instance":"i1"}
  22 instance.became-healthy {"instance":"i1"}
  verdict: "committed"

# A restart changes nothing but the assignment.
> command c4 instance.restart {"instance":"i1"}
  23 instance.restart-ordered {"instance":"i1"}
  24 command.accepted {"id":"c4","command":"instance.restart"}
> assignment a
  run i1 shop/web release 1 ports 20000 restarts 1
> command c5 app.stop {"app":"shop"}
  25 app.scaled {"app":"shop","counts":{"web":0}}
  26 instance.retired {"instance":"i1","reason":"scaled-down"}
  27 command.accepted {"id":"c5","command":"app.stop","release":1}
> command c6 instance.restart {"instance":"i1"}
  28 command.refused {"id":"c6","command":"instance.restart","refusal":{"code":"conflict","field":"instance","rule":"the instance i1 is being stopped","fix":"restart one that shall run"}}

# What a manifest may not say.
> command c7 version.publish {"app":"shop","version":"1.1.0","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"x","ports":["http"],"workers":{"min":2,"max":65,"cpu":70}}}}}
  29 command.refused {"id":"c7","command":"version.publish","refusal":{"code":"invalid","field":"manifest.processes.web.workers.max","rule":"is 65; from 1 to 64","fix":"correct the manifest and publish it again"}}
> command c8 version.publish {"app":"shop","version":"1.1.0","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"x","ports":["http"],"workers":{"min":2,"max":2,"cpu":70,"listen":"own"}}}}}
  30 command.refused {"id":"c8","command":"version.publish","refusal":{"code":"invalid","field":"manifest.processes.web.workers.listen","rule":"is `own`, which needs a port for each of 2 workers; `ports` names 1","fix":"correct the manifest and publish it again"}}
