# Configuration reaches instances with the next deploy, in a new release: global, then app, then process type.

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
> command c4 config.set {"values":{"COLOUR":"red","SIZE":"1"}}
  10 config.set {"app":null,"process":null,"values":{"COLOUR":"red","SIZE":"1"}}
  11 command.accepted {"id":"c4","command":"config.set"}
> command c5 config.set {"app":"shop","values":{"COLOUR":"green"}}
  12 config.set {"app":"shop","process":null,"values":{"COLOUR":"green"}}
  13 command.accepted {"id":"c5","command":"config.set"}
> command c6 config.set {"app":"shop","process":"web","values":{"SIZE":"2"}}
  14 config.set {"app":"shop","process":"web","values":{"SIZE":"2"}}
  15 command.accepted {"id":"c6","command":"config.set"}
> command c7 config.set {"app":"shop","process":"web","values":{"SIZE":"2"}}
  16 command.accepted {"id":"c7","command":"config.set"}
> command c8 app.deploy {"app":"shop","version":"1.0.0"}
  17 release.created {"app":"shop","release":2,"version":"1.0.0","environments":{"web":{"COLOUR":"green","SIZE":"2"}}}
  18 app.deployed {"app":"shop","release":2,"counts":{"web":1}}
  19 instance.placed {"instance":"i2","app":"shop","process":"web","release":2,"servant":"@a","ports":{"http":20001}}
  20 instance.retired {"instance":"i1","reason":"replaced"}
  21 command.accepted {"id":"c8","command":"app.deploy","release":2}
> command c9 config.unset {"app":"shop","process":"web","keys":["SIZE"]}
  22 config.unset {"app":"shop","process":"web","keys":["SIZE"]}
  23 command.accepted {"id":"c9","command":"config.unset"}
> query config.ls
  {"app":null,"key":"COLOUR","process":null,"revision":1,"value":"red"}
  {"app":null,"key":"SIZE","process":null,"revision":1,"value":"1"}
  {"app":"shop","key":"COLOUR","process":null,"revision":2,"value":"green"}
