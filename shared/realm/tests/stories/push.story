# A push makes the app, moves its references and publishes its versions, all of it or nothing.

> command c1 app.push {"app":"hello","refs":[{"name":"refs/heads/main","new":"0000000000000000000000000000000000000001"},{"name":"refs/tags/v1.0.0","new":"0000000000000000000000000000000000000001"}],"bundle":{"digest":"0000000000000000000000000000000000000000000000000000000000000009"},"versions":[{"version":"1.0.0","commit":"0000000000000000000000000000000000000001","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"node server.js","ports":["http"],"needs":{"node":">=18"}}}}}]}
  1 app.created {"app":"hello"}
  2 app.pushed {"app":"hello","refs":[{"name":"refs/heads/main","new":"0000000000000000000000000000000000000001"},{"name":"refs/tags/v1.0.0","new":"0000000000000000000000000000000000000001"}],"bundle":{"digest":"0000000000000000000000000000000000000000000000000000000000000009"}}
  3 version.published {"app":"hello","version":"1.0.0","commit":"0000000000000000000000000000000000000001","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"node server.js","count":1,"ports":["http"],"restart":"always","stop_grace_ms":10000,"needs":{"node":">=18"}}}}}
  4 command.accepted {"id":"c1","command":"app.push"}

# The tag moved to another commit.
> command c2 app.push {"app":"hello","refs":[{"name":"refs/tags/v1.0.0","old":"0000000000000000000000000000000000000001","new":"0000000000000000000000000000000000000002"}],"versions":[{"version":"1.0.0","commit":"0000000000000000000000000000000000000002","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"node server.js","ports":["http"],"needs":{"node":">=18"}}}}}]}
  5 command.refused {"id":"c2","command":"app.push","refusal":{"code":"conflict","field":"version","rule":"1.0.0 is commit 0000000000000000000000000000000000000001, and a version never changes","fix":"publish it under the next version"}}

# The branch moved meanwhile.
> command c3 app.push {"app":"hello","refs":[{"name":"refs/heads/main","new":"0000000000000000000000000000000000000002"}]}
  6 command.refused {"id":"c3","command":"app.push","refusal":{"code":"conflict","field":"refs.old","rule":"\"refs/heads/main\" has moved since the push began","fix":"fetch, then push again"}}
> command c4 app.push {"app":"hello","refs":[{"name":"refs/heads/main","old":"0000000000000000000000000000000000000001","new":"0000000000000000000000000000000000000002"}]}
  7 app.pushed {"app":"hello","refs":[{"name":"refs/heads/main","old":"0000000000000000000000000000000000000001","new":"0000000000000000000000000000000000000002"}],"bundle":null}
  8 command.accepted {"id":"c4","command":"app.push"}
> query version.ls {"app":"hello"}
  {"app":"hello","archive":"0000000000000000000000000000000000000000000000000000000000000001","commit":"0000000000000000000000000000000000000001","published_at":1000,"version":"1.0.0"}

# A bundle that replaces others must have seen all of them.
> command c5 app.push {"app":"hello","refs":[{"name":"refs/heads/x","new":"0000000000000000000000000000000000000003"}],"bundle":{"digest":"000000000000000000000000000000000000000000000000000000000000000a"}}
  9 app.pushed {"app":"hello","refs":[{"name":"refs/heads/x","new":"0000000000000000000000000000000000000003"}],"bundle":{"digest":"000000000000000000000000000000000000000000000000000000000000000a"}}
  10 command.accepted {"id":"c5","command":"app.push"}
> command c6 app.push {"app":"hello","refs":[{"name":"refs/heads/y","new":"0000000000000000000000000000000000000004"}],"bundle":{"digest":"000000000000000000000000000000000000000000000000000000000000000b","replaces":["0000000000000000000000000000000000000000000000000000000000000009"]}}
  11 command.refused {"id":"c6","command":"app.push","refusal":{"code":"conflict","field":"bundle.replaces","rule":"the bundle replaces others than the repository has now: another push came between","fix":"push again"}}
> command c7 app.push {"app":"hello","refs":[{"name":"refs/heads/y","new":"0000000000000000000000000000000000000004"}],"bundle":{"digest":"000000000000000000000000000000000000000000000000000000000000000b","replaces":["0000000000000000000000000000000000000000000000000000000000000009","000000000000000000000000000000000000000000000000000000000000000a"]}}
  12 app.pushed {"app":"hello","refs":[{"name":"refs/heads/y","new":"0000000000000000000000000000000000000004"}],"bundle":{"digest":"000000000000000000000000000000000000000000000000000000000000000b","replaces":["0000000000000000000000000000000000000000000000000000000000000009","000000000000000000000000000000000000000000000000000000000000000a"]}}
  13 command.accepted {"id":"c7","command":"app.push"}
