# Every refusal names the field, the rule and the fix, and changes nothing but the log.

> servant a 20000-20009 node=16.0.0
  1 servant.joined {"domain":"default","facts":{"servant":"@a","name":"a","capabilities":{"node":"16.0.0"},"ports":{"first":20000,"last":20009},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> command c1 app.deploy {"app":"shop","version":"1.0.0"}
  2 command.refused {"id":"c1","command":"app.deploy","refusal":{"code":"unknown","field":"app","rule":"there is no app \"shop\"","fix":"push it with Git to /git/shop.git, or see `kingctl app ls`"}}
> command c2 app.create {"app":"shop"}
  3 app.created {"app":"shop"}
  4 command.accepted {"id":"c2","command":"app.create"}
> command c3 app.create {"app":"shop"}
  5 command.refused {"id":"c3","command":"app.create","refusal":{"code":"conflict","field":"app","rule":"there is an app \"shop\" already","fix":"choose another name"}}
> command c4 app.deploy {"app":"shop","version":"1.0.0"}
  6 command.refused {"id":"c4","command":"app.deploy","refusal":{"code":"unknown","field":"version","rule":"the app \"shop\" has no version 1.0.0","fix":"publish it: git tag v1.0.0 && git push king v1.0.0"}}
> command c5 app.scale {"app":"shop","count":2}
  7 command.refused {"id":"c5","command":"app.scale","refusal":{"code":"conflict","field":"app","rule":"the app \"shop\" was never deployed, so it has nothing to scale or stop","fix":"deploy a version first: kingctl app deploy shop@VERSION"}}
> command c6 version.publish {"app":"shop","version":"1.0.0","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{}}}
  8 command.refused {"id":"c6","command":"version.publish","refusal":{"code":"invalid","field":"manifest.processes","rule":"is empty; name at least one process type, such as `web`","fix":"correct the manifest and publish it again"}}
> command c7 version.publish {"app":"shop","version":"1.0.0","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"node server.js","ports":["http"],"needs":{"node":">=18"}}}}}
  9 version.published {"app":"shop","version":"1.0.0","commit":null,"archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"node server.js","count":1,"ports":["http"],"restart":"always","stop_grace_ms":10000,"needs":{"node":">=18"}}}}}
  10 command.accepted {"id":"c7","command":"version.publish"}
> command c8 version.publish {"app":"shop","version":"1.0.0","archive":"0000000000000000000000000000000000000000000000000000000000000002","manifest":{"processes":{"web":{"command":"node server.js","ports":["http"],"needs":{"node":">=18"}}}}}
  11 command.refused {"id":"c8","command":"version.publish","refusal":{"code":"conflict","field":"version","rule":"1.0.0 has the archive 0000000000000000000000000000000000000000000000000000000000000001, and a version never changes","fix":"publish it under the next version"}}
> command c9 app.deploy {"app":"shop","version":"1.0.0","count":10000000}
  12 command.refused {"id":"c9","command":"app.deploy","refusal":{"code":"invalid","field":"count","rule":"is 10000000; from 0 to 10000 instances of one process type","fix":"name a smaller count"}}
> command c10 app.deploy {"app":"shop","version":"1.0.0","count":1,"process":"worker"}
  13 command.refused {"id":"c10","command":"app.deploy","refusal":{"code":"unknown","field":"process","rule":"the app has no process type \"worker\"","fix":"name one of: web"}}
> command c11 config.set {"app":"shop","values":{"PORT":"1"}}
  14 command.refused {"id":"c11","command":"config.set","refusal":{"code":"invalid","field":"values","rule":"has the key \"PORT\": PORT, PORT_* and KING_* are given by the kingdom","fix":"correct the key or its value"}}
> command c12 config.set {"process":"web","values":{"A":"1"}}
  15 command.refused {"id":"c12","command":"config.set","refusal":{"code":"invalid","field":"process","rule":"a process type without an app is no scope","fix":"name its app too"}}
> command c13 config.unset {"app":"shop","keys":["A"]}
  16 command.refused {"id":"c13","command":"config.unset","refusal":{"code":"unknown","field":"keys","rule":"the key \"A\" is not set in that scope","fix":"see `kingctl config ls`"}}
> command c14 servant.remove {"servant":"a"}
  17 command.refused {"id":"c14","command":"servant.remove","refusal":{"code":"conflict","field":"servant","rule":"the servant \"a\" is alive and would come back at once","fix":"stop it first; it counts as lost after 3 s"}}
> command c15 servant.remove {"servant":"b"}
  18 command.refused {"id":"c15","command":"servant.remove","refusal":{"code":"unknown","field":"servant","rule":"there is no servant \"b\"","fix":"see `kingctl servant ls`"}}
> command c16 app.push {"app":"shop","refs":[{"name":"refs/heads/main","old":"0000000000000000000000000000000000000001","new":"0000000000000000000000000000000000000002"}]}
  19 command.refused {"id":"c16","command":"app.push","refusal":{"code":"conflict","field":"refs.old","rule":"\"refs/heads/main\" has moved since the push began","fix":"fetch, then push again"}}
> command c17 alert.record {"mail":"00000000-0000-0000-0000-000000000001","result":{"sent":{"via":"x"}}}
  20 command.refused {"id":"c17","command":"alert.record","refusal":{"code":"unknown","field":"mail","rule":"no mail 00000000-0000-0000-0000-000000000001 is waiting to be sent","fix":"plan it first; record it once"}}

# What no servant can run waits, and says why.
> command c18 app.deploy {"app":"shop","version":"1.0.0"}
  21 release.created {"app":"shop","release":1,"version":"1.0.0","environments":{"web":{}}}
  22 app.deployed {"app":"shop","release":1,"counts":{"web":1}}
  23 command.accepted {"id":"c18","command":"app.deploy","release":1}
> query app.show {"app":"shop"}
  {"app":"shop","created_at":3000,"newest":"1.0.0","obstacles":["web: 1 of 1 instances have no place: a has node 16.0.0, not >=18"],"phase":"settling","processes":[{"healthy":0,"old":0,"placed":0,"process":"web","wanted":1}],"release":1,"version":"1.0.0"}
> query app.show {"app":"nope"}
  refused: app: there is no app "nope"; push it with Git to /git/nope.git, or see `kingctl app ls`
> query app.sing
  refused: kind: there is no query "app.sing"; ask one of: app.ls, app.show, version.ls, release.ls, instance.ls, servant.ls, config.ls, command.show, alert.ls, king.show, exec.ls, exec.show, why.instance, why-not.app, event.ls, event.show, state.show, state.diff, audit.key, audit.checkpoint, king.ls, servant.metrics, instance.metrics
