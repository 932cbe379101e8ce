# A servant that is told to end with all that it runs says so; when it is back, what it ran starts again.

> servant a 20000-20009
  1 servant.joined {"domain":"default","facts":{"servant":"@a","name":"a","capabilities":{},"ports":{"first":20000,"last":20009},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> command c1 app.create {"app":"shop"}
  2 app.created {"app":"shop"}
  3 command.accepted {"id":"c1","command":"app.create"}
> command c2 version.publish {"app":"shop","version":"1.0.0","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"a","ports":["http"]}}}}
  4 version.published {"app":"shop","version":"1.0.0","commit":null,"archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"a","count":1,"ports":["http"],"restart":"always","stop_grace_ms":10000}}}}
  5 command.accepted {"id":"c2","command":"version.publish"}
> command c3 app.deploy {"app":"shop","version":"1.0.0"}
  6 release.created {"app":"shop","release":1,"version":"1.0.0","environments":{"web":{}}}
  7 app.deployed {"app":"shop","release":1,"counts":{"web":1}}
  8 instance.placed {"instance":"i1","app":"shop","process":"web","release":1,"servant":"@a","ports":{"http":20000}}
  9 command.accepted {"id":"c3","command":"app.deploy","release":1}
> report a instance.started {"instance":"i1","pid":1}
  10 instance.started {"instance":"i1","pid":1}
  verdict: "committed"
> report a instance.ready {"instance":"i1"}
  11 instance.became-healthy {"instance":"i1"}
  12 app.settled {"app":"shop","release":1}
  verdict: "committed"
> report a instance.stopped {"instance":"i1"}
  13 instance.halted {"instance":"i1"}
  verdict: "committed"
> report a instance.stopped {"instance":"i1"}
  verdict: "redundant"
> query app.ls
  {"app":"shop","created_at":2000,"newest":"1.0.0","obstacles":[],"phase":"settling","processes":[{"healthy":0,"old":0,"placed":1,"process":"web","wanted":1}],"release":1,"version":"1.0.0"}
> assignment a
  run i1 shop/web release 1 ports 20000
> report a instance.started {"instance":"i1","pid":2}
  14 instance.started {"instance":"i1","pid":2}
  verdict: "committed"
> report a instance.ready {"instance":"i1"}
  15 instance.became-healthy {"instance":"i1"}
  verdict: "committed"
> query app.ls
  {"app":"shop","created_at":2000,"newest":"1.0.0","obstacles":[],"phase":"settled","processes":[{"healthy":1,"old":0,"placed":1,"process":"web","wanted":1}],"release":1,"version":"1.0.0"}
