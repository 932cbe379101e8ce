# From a version to two healthy instances, and on to the next version.

> servant a 20000-20003 node=20.2.0
  1 servant.joined {"domain":"default","facts":{"servant":"@a","name":"a","capabilities":{"node":"20.2.0"},"ports":{"first":20000,"last":20003},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> servant b 20000-20003 node=18.0.0
  2 servant.joined {"domain":"default","facts":{"servant":"@b","name":"b","capabilities":{"node":"18.0.0"},"ports":{"first":20000,"last":20003},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
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
> assignment a
  run i1 shop/web release 1 ports 20000
> assignment b
  run i2 shop/web release 1 ports 20000
> query app.ls
  {"app":"shop","created_at":3000,"newest":"1.0.0","obstacles":[],"phase":"settling","processes":[{"healthy":0,"old":0,"placed":2,"process":"web","wanted":2}],"release":1,"version":"1.0.0"}
> report a instance.started {"instance":"i1","pid":11}
  12 instance.started {"instance":"i1","pid":11}
  verdict: "committed"
> report a instance.ready {"instance":"i1"}
  13 instance.became-healthy {"instance":"i1"}
  verdict: "committed"
> report b instance.started {"instance":"i2","pid":12}
  14 instance.started {"instance":"i2","pid":12}
  verdict: "committed"

# The last one healthy settles the app.
> report b instance.ready {"instance":"i2"}
  15 instance.became-healthy {"instance":"i2"}
  16 app.settled {"app":"shop","release":1}
  verdict: "committed"
> query app.ls
  {"app":"shop","created_at":3000,"newest":"1.0.0","obstacles":[],"phase":"settled","processes":[{"healthy":2,"old":0,"placed":2,"process":"web","wanted":2}],"release":1,"version":"1.0.0"}

# A report that is sent again changes nothing; nor does a command.
> again b instance.ready {"instance":"i2"}
  verdict: "redundant"
> command c3 app.deploy {"app":"shop","version":"1.0.0","count":2}
  repeated: {"status":"accepted","event":11,"release":1}

# The same version again makes no release.
> command c4 app.deploy {"app":"shop","version":"1.0.0"}
  17 command.accepted {"id":"c4","command":"app.deploy","release":1}

# The next version: new ones become healthy first, then the old ones stop.
> command c5 version.publish {"app":"shop","version":"1.1.0","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"node server.js","ports":["http"],"needs":{"node":">=18"}}}}}
  18 version.published {"app":"shop","version":"1.1.0","commit":null,"archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"node server.js","count":1,"ports":["http"],"restart":"always","stop_grace_ms":10000,"needs":{"node":">=18"}}}}}
  19 command.accepted {"id":"c5","command":"version.publish"}
> command c6 app.deploy {"app":"shop","version":"1.1.0"}
  20 release.created {"app":"shop","release":2,"version":"1.1.0","environments":{"web":{}}}
  21 app.deployed {"app":"shop","release":2,"counts":{"web":2}}
  22 instance.placed {"instance":"i3","app":"shop","process":"web","release":2,"servant":"@a","ports":{"http":20001}}
  23 instance.placed {"instance":"i4","app":"shop","process":"web","release":2,"servant":"@b","ports":{"http":20001}}
  24 command.accepted {"id":"c6","command":"app.deploy","release":2}
> report a instance.started {"instance":"i3","pid":13}
  25 instance.started {"instance":"i3","pid":13}
  verdict: "committed"
> report a instance.ready {"instance":"i3"}
  26 instance.became-healthy {"instance":"i3"}
  verdict: "committed"
> report b instance.started {"instance":"i4","pid":14}
  27 instance.started {"instance":"i4","pid":14}
  verdict: "committed"
> report b instance.ready {"instance":"i4"}
  28 instance.became-healthy {"instance":"i4"}
  29 instance.retired {"instance":"i2","reason":"replaced"}
  30 instance.retired {"instance":"i1","reason":"replaced"}
  verdict: "committed"
> assignment a
  run i3 shop/web release 2 ports 20001
  stop i1
> report a instance.stopped {"instance":"i1"}
  31 instance.stopped {"instance":"i1"}
  verdict: "committed"
> report b instance.stopped {"instance":"i2"}
  32 instance.stopped {"instance":"i2"}
  33 app.settled {"app":"shop","release":2}
  verdict: "committed"
> query release.ls {"app":"shop"}
  {"app":"shop","created_at":5000,"current":false,"release":1,"version":"1.0.0"}
  {"app":"shop","created_at":14000,"current":true,"release":2,"version":"1.1.0"}
