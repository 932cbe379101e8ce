# The scheduler says why: every reason, and its order of choice.

> servant a 20000-20009 node=20.2.0
  1 servant.joined {"domain":"default","facts":{"servant":"@a","name":"a","capabilities":{"node":"20.2.0"},"ports":{"first":20000,"last":20009},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> servant b 20000-20000 node=16.0.0
  2 servant.joined {"domain":"default","facts":{"servant":"@b","name":"b","capabilities":{"node":"16.0.0"},"ports":{"first":20000,"last":20000},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> servant c 20000-20009 node=20.2.0
  3 servant.joined {"domain":"default","facts":{"servant":"@c","name":"c","capabilities":{"node":"20.2.0"},"ports":{"first":20000,"last":20009},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> servant d 20000-20009 node=20.2.0
  4 servant.joined {"domain":"default","facts":{"servant":"@d","name":"d","capabilities":{"node":"20.2.0"},"ports":{"first":20000,"last":20009},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> command c1 app.create {"app":"shop"}
  5 app.created {"app":"shop"}
  6 command.accepted {"id":"c1","command":"app.create"}
> query why-not.app {"app":"shop","servant":"a"}
  refused: app: the app "shop" was never deployed, so it runs nowhere; deploy a version first: kingctl app deploy shop@VERSION
> command c2 version.publish {"app":"shop","version":"1.0.0","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"node server.js","ports":["http","admin"],"needs":{"node":">=18"}}}}}
  7 version.published {"app":"shop","version":"1.0.0","commit":null,"archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"node server.js","count":1,"ports":["http","admin"],"restart":"always","stop_grace_ms":10000,"needs":{"node":">=18"}}}}}
  8 command.accepted {"id":"c2","command":"version.publish"}
> command c3 app.deploy {"app":"shop","version":"1.0.0","count":2}
  9 release.created {"app":"shop","release":1,"version":"1.0.0","environments":{"web":{}}}
  10 app.deployed {"app":"shop","release":1,"counts":{"web":2}}
  11 instance.placed {"instance":"i1","app":"shop","process":"web","release":1,"servant":"@a","ports":{"admin":20001,"http":20000}}
  12 instance.placed {"instance":"i2","app":"shop","process":"web","release":1,"servant":"@c","ports":{"admin":20001,"http":20000}}
  13 command.accepted {"id":"c3","command":"app.deploy","release":1}
> report foreman servant.lose {"servant":"@b","silent_ms":3000}
  14 servant.lost {"servant":"@b","name":"b","silent_ms":3000}
  verdict: "committed"

# Lost, too old and short of ports, all at once; another could, and was not chosen.
> query why-not.app {"app":"shop","servant":"b"}
  {"app":"shop","process":"web","reasons":["it is lost","it has node 16.0.0, not >=18","it has only 1 of 2 ports free in 20000-20000"],"servant":"b","standing":"cannot"}
> query why-not.app {"app":"shop","servant":"d"}
  {"app":"shop","process":"web","reasons":["it could; all 2 of 2 have a place elsewhere, and nothing is moved that runs","for another one it would be number 1 of 3: the fewest of web come first (it has 0), then the fewest of all (it has 0), then the name"],"servant":"d","standing":"not-chosen"}
> query why-not.app {"app":"shop","servant":"a"}
  {"app":"shop","process":"web","reasons":["1 of 2 run there"],"servant":"a","standing":"runs"}
> query why-not.app {"app":"shop","servant":"nobody"}
  refused: servant: there is no servant "nobody"; see `kingctl servant ls`
> query why-not.app {"app":"shop","servant":"a","process":"worker"}
  refused: process: release 1 of "shop" has no such process type; see `kingctl app show shop`
> query why.instance {"instance":"i1"}
  {"app":"shop","candidates":[{"all":0,"obstacles":[],"same":0,"servant":"d"},{"all":1,"obstacles":[],"same":1,"servant":"a"},{"all":1,"obstacles":[],"same":1,"servant":"c"},{"all":0,"obstacles":["is lost","has node 16.0.0, not >=18","has only 1 of 2 ports free in 20000-20000"],"same":0,"servant":"b"}],"candidates_left_out":0,"causes":[],"instance":"i1","phase":"placed","process":"web","reasons":["release 1 of shop shall run, with 2 of web","it is placed since 1970-01-01T00:00:07.000Z"],"release":1,"servant":"a"}
> command c4 app.scale {"app":"shop","count":0}
  15 app.scaled {"app":"shop","counts":{"web":0}}
  16 instance.retired {"instance":"i1","reason":"scaled-down"}
  17 instance.retired {"instance":"i2","reason":"scaled-down"}
  18 command.accepted {"id":"c4","command":"app.scale","release":1}
> query why-not.app {"app":"shop","servant":"d"}
  {"app":"shop","process":"web","reasons":["0 of web shall run"],"servant":"d","standing":"not-wanted"}
> query why.instance {"instance":"i1"}
  {"app":"shop","candidates":[{"all":0,"obstacles":[],"same":0,"servant":"d"},{"all":1,"obstacles":[],"same":0,"servant":"a"},{"all":1,"obstacles":[],"same":0,"servant":"c"},{"all":0,"obstacles":["is lost","has node 16.0.0, not >=18","has only 1 of 2 ports free in 20000-20000"],"same":0,"servant":"b"}],"candidates_left_out":0,"causes":[],"instance":"i1","phase":"stopping","process":"web","reasons":["release 1 of shop shall run, with 0 of web","it is stopping since 1970-01-01T00:00:09.000Z: scaled down"],"release":1,"servant":"a"}
> query why.instance {"instance":"00000000-0000-0000-0000-000000000009"}
  refused: instance: there is no instance 00000000-0000-0000-0000-000000000009: it is gone, or never was; see `kingctl instance ls`; what became of one that is gone stands in its events
