# A plan says what a command would lead to, and changes nothing. Its token lets exactly that be done.

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
> plan app.deploy {"app":"shop","version":"1.0.0","count":2}
  would be release.created {"app":"shop","environments":{"web":{}},"release":1,"version":"1.0.0"}
  would be app.deployed {"app":"shop","counts":{"web":2},"release":1}
  would be instance.placed {"app":"shop","instance":"new-1","ports":{"http":20000},"process":"web","release":1,"servant":"@a"}
  would be instance.placed {"app":"shop","instance":"new-2","ports":{"http":20000},"process":"web","release":1,"servant":"@b"}
  would differ: {"noun":"app","name":"shop","change":"changed","fields":[{"field":"counts.web","after":2},{"field":"release","after":1}]}
  would differ: {"noun":"release","name":"shop/1","change":"added","fields":[{"field":"version","after":"1.0.0"}]}
  would differ: {"noun":"servant","name":"a","change":"changed","fields":[{"field":"instances","before":0,"after":1}]}
  would differ: {"noun":"servant","name":"b","change":"changed","fields":[{"field":"instances","before":0,"after":1}]}
  would differ: {"noun":"instance","name":"new-1","change":"added","fields":[{"field":"app","after":"shop"},{"field":"crashes","after":0},{"field":"looping","after":false},{"field":"phase","after":"placed"},{"field":"ports.http","after":20000},{"field":"process","after":"web"},{"field":"release","after":1},{"field":"servant","after":"@a"}]}
  would differ: {"noun":"instance","name":"new-2","change":"added","fields":[{"field":"app","after":"shop"},{"field":"crashes","after":0},{"field":"looping","after":false},{"field":"phase","after":"placed"},{"field":"ports.http","after":20000},{"field":"process","after":"web"},{"field":"release","after":1},{"field":"servant","after":"@b"}]}

# What has nothing to do with it does not void it.
> command c3 app.create {"app":"blog"}
  7 app.created {"app":"blog"}
  8 command.accepted {"id":"c3","command":"app.create"}
> keep c4 app.deploy {"app":"shop","version":"1.0.0","count":2}
  9 release.created {"app":"shop","release":1,"version":"1.0.0","environments":{"web":{}}}
  10 app.deployed {"app":"shop","release":1,"counts":{"web":2}}
  11 instance.placed {"instance":"i1","app":"shop","process":"web","release":1,"servant":"@a","ports":{"http":20000}}
  12 instance.placed {"instance":"i2","app":"shop","process":"web","release":1,"servant":"@b","ports":{"http":20000}}
  13 command.accepted {"id":"c4","command":"app.deploy","release":1}

# A place that the plan counted on is gone: refused, and nothing is done.
> plan app.scale {"app":"shop","count":4}
  would be app.scaled {"app":"shop","counts":{"web":4}}
  would be instance.placed {"app":"shop","instance":"new-1","ports":{"http":20001},"process":"web","release":1,"servant":"@a"}
  would be instance.placed {"app":"shop","instance":"new-2","ports":{"http":20001},"process":"web","release":1,"servant":"@b"}
  would differ: {"noun":"app","name":"shop","change":"changed","fields":[{"field":"counts.web","before":2,"after":4}]}
  would differ: {"noun":"servant","name":"a","change":"changed","fields":[{"field":"instances","before":1,"after":2}]}
  would differ: {"noun":"servant","name":"b","change":"changed","fields":[{"field":"instances","before":1,"after":2}]}
  would differ: {"noun":"instance","name":"new-1","change":"added","fields":[{"field":"app","after":"shop"},{"field":"crashes","after":0},{"field":"looping","after":false},{"field":"phase","after":"placed"},{"field":"ports.http","after":20001},{"field":"process","after":"web"},{"field":"release","after":1},{"field":"servant","after":"@a"}]}
  would differ: {"noun":"instance","name":"new-2","change":"added","fields":[{"field":"app","after":"shop"},{"field":"crashes","after":0},{"field":"looping","after":false},{"field":"phase","after":"placed"},{"field":"ports.http","after":20001},{"field":"process","after":"web"},{"field":"release","after":1},{"field":"servant","after":"@b"}]}
> report foreman servant.lose {"servant":"@b","silent_ms":3000}
  14 servant.lost {"servant":"@b","name":"b","silent_ms":3000}
  15 instance.placed {"instance":"i3","app":"shop","process":"web","release":1,"servant":"@a","ports":{"http":20001}}
  16 instance.retired {"instance":"i2","reason":"servant-lost"}
  verdict: "committed"
> keep c5 app.scale {"app":"shop","count":4}
  17 command.refused {"id":"c5","command":"app.scale","refusal":{"code":"conflict","field":"plan","rule":"the world has moved since event 13: what would differ is no longer the same; 2 instance.placed were planned, and would now be others","fix":"plan it again with --plan, and look at what is other"}}
> query app.ls
  {"app":"blog","created_at":5000,"newest":null,"obstacles":[],"phase":"new","processes":[],"release":null,"version":null}
  {"app":"shop","created_at":3000,"newest":"1.0.0","obstacles":[],"phase":"settling","processes":[{"healthy":0,"old":1,"placed":2,"process":"web","wanted":2}],"release":1,"version":"1.0.0"}

# A token is for one command.
> plan app.scale {"app":"shop","count":1}
  would be app.scaled {"app":"shop","counts":{"web":1}}
  would be instance.retired {"instance":"i3","reason":"scaled-down"}
  would differ: {"noun":"app","name":"shop","change":"changed","fields":[{"field":"counts.web","before":2,"after":1}]}
  would differ: {"noun":"instance","name":"i3","change":"changed","fields":[{"field":"phase","before":"placed","after":"stopping"},{"field":"reason","after":"scaled down"}]}
> keep c6 app.scale {"app":"shop","count":3}
  18 command.refused {"id":"c6","command":"app.scale","refusal":{"code":"conflict","field":"plan","rule":"this token belongs to another command, or to one with other fields","fix":"plan this command, and use its own token"}}
> keep c7 app.scale {"app":"shop","count":1}
  19 app.scaled {"app":"shop","counts":{"web":1}}
  20 instance.retired {"instance":"i3","reason":"scaled-down"}
  21 command.accepted {"id":"c7","command":"app.scale","release":1}

# What would be refused has no token; what would change nothing has one.
> plan app.deploy {"app":"shop","version":"9.0.0"}
  would be refused: version: the app "shop" has no version 9.0.0; choose one of 1.0.0 or publish it: git tag v9.0.0 && git push king v9.0.0
> plan app.scale {"app":"shop","count":1}
> keep c8 app.scale {"app":"shop","count":1}
  22 command.accepted {"id":"c8","command":"app.scale","release":1}
> plan config.set {"app":"shop","values":{"COLOUR":"red"}}
  would be config.set {"app":"shop","process":null,"values":{"COLOUR":"red"}}
  would differ: {"noun":"config","name":"shop","change":"added","fields":[{"field":"COLOUR","after":"red"}]}
> command c9 config.set {"app":"shop","values":{"COLOUR":"green"}}
  23 config.set {"app":"shop","process":null,"values":{"COLOUR":"green"}}
  24 command.accepted {"id":"c9","command":"config.set"}
> plan config.unset {"app":"shop","keys":["COLOUR"]}
  would be config.unset {"app":"shop","keys":["COLOUR"],"process":null}
  would differ: {"noun":"config","name":"shop","change":"removed","fields":[{"field":"COLOUR","before":"green"}]}

# The same event about something that has become another is another plan.
> command c10 config.set {"app":"shop","values":{"COLOUR":"blue"}}
  25 config.set {"app":"shop","process":null,"values":{"COLOUR":"blue"}}
  26 command.accepted {"id":"c10","command":"config.set"}
> keep c11 config.unset {"app":"shop","keys":["COLOUR"]}
  27 command.refused {"id":"c11","command":"config.unset","refusal":{"code":"conflict","field":"plan","rule":"the world has moved since event 24: what would differ is no longer the same","fix":"plan it again with --plan, and look at what is other"}}
> plan servant.remove {"servant":"b"}
  would be servant.removed {"name":"b","servant":"@b"}
  would differ: {"noun":"servant","name":"b","change":"removed","fields":[{"field":"domain","before":"default"},{"field":"facts.boot","before":"boot-1"},{"field":"facts.capabilities.node","before":"20.2.0"},{"field":"facts.cpus","before":2},{"field":"facts.memory_bytes","before":1073741824},{"field":"facts.name","before":"b"},{"field":"facts.ports.first","before":20000},{"field":"facts.ports.last","before":20009},{"field":"facts.servant","before":"@b"},{"field":"instances","before":1},{"field":"lost","before":true}]}
  would differ: {"noun":"instance","name":"i2","change":"removed","fields":[{"field":"app","before":"shop"},{"field":"crashes","before":0},{"field":"looping","before":false},{"field":"phase","before":"stopping"},{"field":"ports.http","before":20000},{"field":"process","before":"web"},{"field":"reason","before":"servant lost"},{"field":"release","before":1},{"field":"servant","before":"@b"}]}
> plan app.remove {"app":"shop"}
  would be app.removed {"app":"shop"}
  would differ: {"noun":"app","name":"shop","change":"removed","fields":[{"field":"counts.web","before":1},{"field":"release","before":1}]}
  would differ: {"noun":"version","name":"shop@1.0.0","change":"removed","fields":[{"field":"archive","before":"0000000000000000000000000000000000000000000000000000000000000001"},{"field":"manifest.processes.web.command","before":"node server.js"},{"field":"manifest.processes.web.count","before":1},{"field":"manifest.processes.web.needs.node","before":">=18"},{"field":"manifest.processes.web.ports","before":["http"]},{"field":"manifest.processes.web.restart","before":"always"},{"field":"manifest.processes.web.stop_grace_ms","before":10000}]}
  would differ: {"noun":"release","name":"shop/1","change":"removed","fields":[{"field":"version","before":"1.0.0"}]}
  would differ: {"noun":"config","name":"shop","change":"removed","fields":[{"field":"COLOUR","before":"blue"}]}
  would differ: {"noun":"instance","name":"i1","change":"changed","fields":[{"field":"phase","before":"placed","after":"stopping"},{"field":"reason","after":"app removed"}]}
> report a instance.started {"instance":"i1","pid":11}
  28 instance.started {"instance":"i1","pid":11}
  verdict: "committed"
> report a instance.ready {"instance":"i1"}
  29 instance.became-healthy {"instance":"i1"}
  verdict: "committed"
> keep c12 app.remove {"app":"shop"}
  30 app.removed {"app":"shop"}
  31 command.accepted {"id":"c12","command":"app.remove"}
