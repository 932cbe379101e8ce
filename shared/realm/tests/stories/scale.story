# Scaling up and down, stopping, and starting again.

> servant a 20000-20009 node=20.2.0
  1 servant.joined {"domain":"default","facts":{"servant":"@a","name":"a","capabilities":{"node":"20.2.0"},"ports":{"first":20000,"last":20009},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> command c1 app.create {"app":"shop"}
  2 app.created {"app":"shop"}
  3 command.accepted {"id":"c1","command":"app.create"}
> command c2 version.publish {"app":"shop","version":"1.0.0","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"node server.js","ports":["http"],"needs":{"node":">=18"}}}}}
  4 version.published {"app":"shop","version":"1.0.0","commit":null,"archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"node server.js","count":1,"ports":["http"],"restart":"always","stop_grace_ms":10000,"needs":{"node":">=18"}}}}}
  5 command.accepted {"id":"c2","command":"version.publish"}
> command c3 app.deploy {"app":"shop","version":"1.0.0"}
  6 release.created {"app":"shop","release":1,"version":"1.0.0","environments":{"web":{}}}
  7 app.deployed {"app":"shop","release":1,"counts":{"web":1}}
  8 instance.placed {"instance":"i1","app":"shop","process":"web","release":1,"servant":"@a","ports":{"http":20000}}
  9 command.accepted {"id":"c3","command":"app.deploy","release":1}
> command c4 app.scale {"app":"shop","count":3}
  10 app.scaled {"app":"shop","counts":{"web":3}}
  11 instance.placed {"instance":"i2","app":"shop","process":"web","release":1,"servant":"@a","ports":{"http":20001}}
  12 instance.placed {"instance":"i3","app":"shop","process":"web","release":1,"servant":"@a","ports":{"http":20002}}
  13 command.accepted {"id":"c4","command":"app.scale","release":1}
> report a instance.ready {"instance":"i1"}
  14 instance.became-healthy {"instance":"i1"}
  verdict: "committed"

# What is healthy is kept.
> command c5 app.scale {"app":"shop","count":1}
  15 app.scaled {"app":"shop","counts":{"web":1}}
  16 instance.retired {"instance":"i2","reason":"scaled-down"}
  17 instance.retired {"instance":"i3","reason":"scaled-down"}
  18 command.accepted {"id":"c5","command":"app.scale","release":1}
> command c6 app.scale {"app":"shop","count":1}
  19 command.accepted {"id":"c6","command":"app.scale","release":1}
> report a instance.stopped {"instance":"i2"}
  20 instance.stopped {"instance":"i2"}
  verdict: "committed"
> report a instance.stopped {"instance":"i3"}
  21 instance.stopped {"instance":"i3"}
  22 app.settled {"app":"shop","release":1}
  verdict: "committed"
> command c7 app.stop {"app":"shop"}
  23 app.scaled {"app":"shop","counts":{"web":0}}
  24 instance.retired {"instance":"i1","reason":"scaled-down"}
  25 command.accepted {"id":"c7","command":"app.stop","release":1}
> report a instance.stopped {"instance":"i1"}
  26 instance.stopped {"instance":"i1"}
  27 app.settled {"app":"shop","release":1}
  verdict: "committed"
> command c8 app.deploy {"app":"shop","version":"1.0.0"}
  28 app.deployed {"app":"shop","release":1,"counts":{"web":1}}
  29 instance.placed {"instance":"i4","app":"shop","process":"web","release":1,"servant":"@a","ports":{"http":20003}}
  30 command.accepted {"id":"c8","command":"app.deploy","release":1}
> command c9 app.remove {"app":"shop"}
  31 app.removed {"app":"shop"}
  32 command.accepted {"id":"c9","command":"app.remove"}
> assignment a
  stop i4
> report a instance.stopped {"instance":"i4"}
  33 instance.stopped {"instance":"i4"}
  verdict: "committed"
> query instance.ls
