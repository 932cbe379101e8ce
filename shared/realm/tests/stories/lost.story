# A servant is lost, what it ran gets successors, and when it returns it is told to stop what is no longer its own.

> servant a 20000-20009 node=20.2.0
  1 servant.joined {"domain":"default","facts":{"servant":"@a","name":"a","capabilities":{"node":"20.2.0"},"ports":{"first":20000,"last":20009},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> servant b 20000-20009 node=20.2.0
  2 servant.joined {"domain":"default","facts":{"servant":"@b","name":"b","capabilities":{"node":"20.2.0"},"ports":{"first":20000,"last":20009},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> command c1 app.create {"app":"shop"}
  3 app.created {"app":"shop"}
  4 command.accepted {"id":"c1","command":"app.create"}
> command c2 version.publish {"app":"shop","version":"1.0.0","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"node server.js","ports":["http"],"needs":{"node":">=18"}}}}}
  5 version.published {"app":"shop","version":"1.0.0","commit":null,"archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"node server.js","count":1,"ports":["http"],"restart":"always","stop_grace_ms":10000,"needs":{"node":">=18"}}}}}
  6 command.accepted {"id":"c2","command":"version.publish"}
> command c3 app.deploy {"app":"shop","version":"1.0.0","count":2}
  7 release.created {"app":"shop","release":1,"version":"1.0.0","environments":{"web":{}}}
  8 app.deployed {"app":"shop","release":1,"counts":{"web":2}}
  9 instance.placed {"instance":"i1","app":"shop","process":"web","release":1,"servant":"@a","ports":{"http":20000}}
  10 instance.placed {"instance":"i2","app":"shop","process":"web","release":1,"servant":"@b","ports":{"http":20000}}
  11 command.accepted {"id":"c3","command":"app.deploy","release":1}
> report a instance.ready {"instance":"i1"}
  12 instance.became-healthy {"instance":"i1"}
  verdict: "committed"
> report b instance.ready {"instance":"i2"}
  13 instance.became-healthy {"instance":"i2"}
  14 app.settled {"app":"shop","release":1}
  verdict: "committed"
> report foreman servant.lose {"servant":"@a","silent_ms":3000}
  15 servant.lost {"servant":"@a","name":"a","silent_ms":3000}
  16 instance.placed {"instance":"i3","app":"shop","process":"web","release":1,"servant":"@b","ports":{"http":20001}}
  17 instance.retired {"instance":"i1","reason":"servant-lost"}
  verdict: "committed"
> report foreman servant.lose {"servant":"@a","silent_ms":4000}
  verdict: "redundant"
> report b instance.ready {"instance":"i3"}
  18 instance.became-healthy {"instance":"i3"}
  19 app.settled {"app":"shop","release":1}
  verdict: "committed"
> query servant.ls
  {"capabilities":{"node":"20.2.0"},"cpus":2,"disk":null,"domain":"default","instances":1,"labels":{},"lost":true,"memory_bytes":1073741824,"name":"a","servant":"@a","since":8000}
  {"capabilities":{"node":"20.2.0"},"cpus":2,"disk":null,"domain":"default","instances":2,"labels":{},"lost":false,"memory_bytes":1073741824,"name":"b","servant":"@b","since":2000}
> report foreman servant.return {"servant":"@a"}
  20 servant.returned {"servant":"@a","name":"a"}
  verdict: "committed"
> assignment a
  stop i1
> report a instance.stopped {"instance":"i1"}
  21 instance.stopped {"instance":"i1"}
  22 app.settled {"app":"shop","release":1}
  verdict: "committed"

# With nobody else left, an instance waits for its servant.
> report foreman servant.lose {"servant":"@a","silent_ms":3000}
  23 servant.lost {"servant":"@a","name":"a","silent_ms":3000}
  verdict: "committed"
> report foreman servant.lose {"servant":"@b","silent_ms":3000}
  24 servant.lost {"servant":"@b","name":"b","silent_ms":3000}
  verdict: "committed"
> tick
> query app.ls
  {"app":"shop","created_at":3000,"newest":"1.0.0","obstacles":[],"phase":"settling","processes":[{"healthy":0,"old":0,"placed":2,"process":"web","wanted":2}],"release":1,"version":"1.0.0"}
> report foreman servant.return {"servant":"@b"}
  25 servant.returned {"servant":"@b","name":"b"}
  26 app.settled {"app":"shop","release":1}
  verdict: "committed"
> tick

# A lost servant can be removed, and its name is free.
> command c4 servant.remove {"servant":"b"}
  27 command.refused {"id":"c4","command":"servant.remove","refusal":{"code":"conflict","field":"servant","rule":"the servant \"b\" is alive and would come back at once","fix":"stop it first; it counts as lost after 3 s"}}
> command c5 servant.remove {"servant":"a"}
  28 servant.removed {"servant":"@a","name":"a"}
  29 command.accepted {"id":"c5","command":"servant.remove"}
