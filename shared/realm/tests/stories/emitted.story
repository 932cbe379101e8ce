# What an app tells of itself stands in the log with whose it is, changes nothing else, and is told once.

> servant a 20000-20009
  1 servant.joined {"domain":"default","facts":{"servant":"@a","name":"a","capabilities":{},"ports":{"first":20000,"last":20009},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> servant b 20000-20009
  2 servant.joined {"domain":"default","facts":{"servant":"@b","name":"b","capabilities":{},"ports":{"first":20000,"last":20009},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> command c1 app.create {"app":"shop"}
  3 app.created {"app":"shop"}
  4 command.accepted {"id":"c1","command":"app.create"}
> command c2 version.publish {"app":"shop","version":"1.0.0","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"run"}}}}
  5 version.published {"app":"shop","version":"1.0.0","commit":null,"archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"run","count":1,"restart":"always","stop_grace_ms":10000}}}}
  6 command.accepted {"id":"c2","command":"version.publish"}
> command c3 app.deploy {"app":"shop","version":"1.0.0"}
  7 release.created {"app":"shop","release":1,"version":"1.0.0","environments":{"web":{}}}
  8 app.deployed {"app":"shop","release":1,"counts":{"web":1}}
  9 instance.placed {"instance":"i1","app":"shop","process":"web","release":1,"servant":"@a","ports":{}}
  10 command.accepted {"id":"c3","command":"app.deploy","release":1}
> report a instance.started {"instance":"i1","pid":1}
  11 instance.started {"instance":"i1","pid":1}
  verdict: "committed"
> report a instance.emitted {"instance":"i1","name":"order-placed","fields":{"id":7,"total":12.5}}
  12 app.emitted {"app":"shop","process":"web","instance":"i1","servant":"@a","name":"order-placed","fields":{"id":7,"total":12.5},"emitted_at":6}
  verdict: "committed"
> again a instance.emitted {"instance":"i1","name":"order-placed","fields":{"id":7,"total":12.5}}
  verdict: "redundant"
> report a instance.emitted {"instance":"i1","name":"order-placed","fields":{},"dropped":41}
  13 app.emitted {"app":"shop","process":"web","instance":"i1","servant":"@a","name":"order-placed","fields":{},"emitted_at":8,"dropped":41}
  verdict: "committed"

# Not by a servant that does not run it, and not beyond the limits.
> report b instance.emitted {"instance":"i1","name":"order-placed","fields":{}}
  verdict: "redundant"
> report a instance.emitted {"instance":"i1","name":"deep","fields":{"a":[[[[1]]]]}}
  verdict: {"refused":{"code":"invalid","field":"fields","rule":"fields are nested deeper than 4","fix":"send fewer or smaller ones"}}

# What is told while it is being stopped is told all the same.
> command c4 app.stop {"app":"shop"}
  14 app.scaled {"app":"shop","counts":{"web":0}}
  15 instance.retired {"instance":"i1","reason":"scaled-down"}
  16 command.accepted {"id":"c4","command":"app.stop","release":1}
> report a instance.emitted {"instance":"i1","name":"last-words","fields":{}}
  17 app.emitted {"app":"shop","process":"web","instance":"i1","servant":"@a","name":"last-words","fields":{},"emitted_at":12}
  verdict: "committed"
> report a instance.stopped {"instance":"i1"}
  18 instance.stopped {"instance":"i1"}
  19 app.settled {"app":"shop","release":1}
  verdict: "committed"
> report a instance.emitted {"instance":"i1","name":"from-beyond","fields":{}}
  verdict: "redundant"
