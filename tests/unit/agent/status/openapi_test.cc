// openapi.json against the answers of a server: all of them are recorded here, and openapi_check.py
// holds the record against the description.
#include "agent/control/names.h"
#include "agent/status/routes.h"
#include "agent/trace/trace_json.h"
#include "tests/unit/agent/status/server_fixture.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
namespace json = boost::json;
using asio::ip::tcp;
using test::EventReader;
using test::Response;

/// A model in which whatever may be unknown is known, or, when `known` is not true, is not.
StatusModel model_of(bool known) {
  StatusModel model = test::fixed_model();
  PortSnapshot& port = model.applications.front().ports.front();
  TaskSnapshot& task = model.tasks.front();
  if (!known) {
    model.not_ready = {"The control database is away."};
    model.database = {};
    model.peers = {{"hostB", std::nullopt, {}, std::nullopt}};
    model.networks = {{"net1", 100, {}, std::nullopt}};
    model.applications.front().location = "";
    model.applications.front().state = "nowhere";
    port.device = "";
    port.traffic = std::nullopt;
    TaskSnapshot bare;
    bare.id = task.id;
    bare.kind = "start";
    bare.application = "vm1";
    bare.state = "running";
    task = bare;
    model.moves = {};
    model.paths.peers.front().since = std::nullopt;
    return model;
  }
  port.current_addresses = {boost::asio::ip::make_address("192.0.2.1")};
  port.held = true;
  model.datapath.differences = {"the VTEP 192.0.2.9 is missing"};
  task.state = "in-doubt";
  task.error = "nobody knows";
  task.finished = model.now;
  task.total_ms = 90'000;
  task.downtime_ms = 80;
  model.tasks.push_back(task);
  model.tasks.back().id = "8f3f7a4e-1111-4222-8333-444455556666";
  return model;
}

/// A trace in which whatever may be null is and is not.
json::object trace_of(const TraceQuestion& question) {
  TracedPart part;
  part.steps = {{"port", "hp_ports 12", "tap1 is the port"},
                {"delivery", "", "through the tunnel"}};
  part.end = "sent";
  part.copies = {{"", boost::asio::ip::make_address("192.0.2.2"), true, "hostB"}};
  part.counters = {"forwarded"};
  TracedHost first{.host = "hostA", .found = part, .left = part};
  first.left->end = "delivered";
  first.left->copies = {{"tap1", {}, false, ""}};
  first.counts = {{"packets", 3}};
  first.counting_problem = "no";
  TracedHost second{.host = "hostB", .sent_by = "hostA"};
  second.found.end = "unknown";
  second.problem = "hostB does not tell.";
  return to_json(question, {first, second});
}

asio::awaitable<policy::Result<json::object>> trace(
    std::map<std::string, std::string, std::less<>> query) {
  const auto live = query.find("live");
  if (live != query.end() && live->second == "busy") {
    co_return policy::make_error(boost::system::errc::resource_unavailable_try_again, "busy");
  }
  auto question = parse_question(query);
  if (!question) co_return question.error();
  auto host = host_of(*question, {}, "hostA");
  if (!host && question->from != "vm1") co_return host.error();
  co_return trace_of(*question);
}

class OpenApi : public test::ServerTest {
 protected:
  void record(std::string_view method, std::string_view target, const json::object& fields,
              const Response& response) {
    json::object headers;
    for (const auto& field : response) {
      headers[std::string_view(field.name_string())] = std::string_view(field.value());
    }
    exchanges_.push_back(json::object{{"method", method},
                                      {"target", target},
                                      {"fields", fields},
                                      {"status", response.result_int()},
                                      {"headers", std::move(headers)},
                                      {"body", response.body()}});
  }

  /// Asks and records.
  Response get(std::string_view target, const json::object& fields = {},
               http::verb method = http::verb::get) {
    std::string lines;
    for (const auto& field : fields) {
      lines += fmt::format("{}: {}\r\n", std::string_view(field.key()),
                           field.value().as_string().c_str());
    }
    Response response = ask(target, method, lines);
    record(std::string_view(http::to_string(method)), target, fields, response);
    return response;
  }

  /// Sends a request that is none and records the answer as that to GET `target`.
  void send(std::string_view target, const std::string& text) {
    tcp::socket socket = connect();
    record("GET", target, {}, exchange(socket, text));
  }

  /// A path of the route that there is.
  static std::string existing(const StatusRoute& route) {
    std::string path(route.path);
    const auto brace = path.find('{');
    if (brace == path.npos) return path;
    const std::string list = path.substr(0, brace);
    if (list.ends_with("/paths/")) return list + "hostB";
    return list +
           (list.ends_with("/applications/") ? "vm1" : "7f3f7a4e-1111-4222-8333-444455556666");
  }

  void ask_for_everything() {
    for (const StatusRoute& route : status_routes()) {
      const std::string path = existing(route);
      if (!route.events) {
        const std::string etag(get(path)[http::field::etag]);
        if (!etag.empty()) get(path, {{"If-None-Match", etag}});
        get(path, {}, http::verb::head);
      }
      get(path, {}, http::verb::post);
      get(path + "?nonsense=1");
      if (route.path.ends_with('}')) get(path + "-not");
      for (const StatusParameter& parameter : route.parameters) {
        std::vector<std::string> values(parameter.values.begin(), parameter.values.end());
        if (values.empty()) values = {parameter.name == kLimitParameter ? "1" : "vm1"};
        for (const std::string& value : values) {
          get(fmt::format("{}?{}={}", path, parameter.name, value));
        }
      }
    }
    get("/nothing");
  }

  void ask_for_traces() {
    get("/v1/"
        "trace?from=vm1&to=10.1.0.5&source=10.1.0.6&protocol=tcp&port=22&source_port=40000&"
        "length=100&hops=3&fragment=no");
    const std::string target = "/v1/trace?from=host&to=fd01::5&at=hostA&live=x";
    get(target, {{"If-None-Match", std::string(get(target)[http::field::etag])}});
    get("/v1/trace?from=host&to=fd01::5&live=busy");
    get("/v1/trace?from=vm9&to=fd01::5");
  }

  void ask_badly() {
    send("/healthz", "GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    send("/healthz", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n0");
    send("/healthz", "GET /healthz HTTP/1.1\r\nX: " + std::string(9'000, 'x') + "\r\n\r\n");
    send("/healthz", "GET /healthz HTTP/1.1\r\n\r\n");
    std::vector<tcp::socket> others;
    for (std::size_t i = 0; i < options_.connections_max; ++i) {
      others.push_back(connect());
      exchange(others.back(), "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    send("/healthz", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
  }

  /// Reads events of every kind, and one reader more than there may be.
  void follow_events() {
    on_server([this] { model_.path_events = test::fixed_path_events(model_.now); });
    EventReader reader(connect(), "Last-Event-ID: 5\r\n");
    std::string events;
    auto take = [&](int count) {
      for (int i = 0; i < count; ++i) events += reader.next();
    };
    take(6);
    get("/v1/events");
    on_server([this] {
      model_.tasks.pop_back();
      model_.path_events.pop_back();
      server_->things_changed();
    });
    take(2);
    reader.socket().close();
    Response response;
    response.result(http::status::ok);
    response.set(http::field::content_type, "text/event-stream");
    response.body() = events;
    record("GET", "/v1/events", {{"Last-Event-ID", "5"}}, response);
  }

  static json::array routes() {
    json::array routes;
    for (const StatusRoute& route : status_routes()) {
      json::object parameters;
      for (const StatusParameter& parameter : route.parameters) {
        parameters[parameter.name] = json::array(parameter.values.begin(), parameter.values.end());
      }
      routes.push_back(json::object{{"path", route.path}, {"parameters", std::move(parameters)}});
    }
    return routes;
  }

  json::array exchanges_;
};

TEST_F(OpenApi, DescribesWhatIsAnsweredAndNothingElse) {
  options_.connections_max = 4;
  options_.event_streams_max = 1;
  options_.event_interval = std::chrono::milliseconds(0);
  tracing_ = trace;
  ASSERT_TRUE(start());
  ask_for_traces();
  on_server([this] { model_ = model_of(false); });
  ask_for_everything();
  on_server([this] { model_ = model_of(true); });
  ask_for_everything();
  follow_events();
  ask_badly();

  const std::string file = directory_ + "/record.json";
  std::ofstream(file) << json::object{{"routes", routes()}, {"exchanges", exchanges_}};
  const std::string command = fmt::format("{} -B {} {} {} 2>&1", HOMEPORT_PYTHON3,
                                          HOMEPORT_OPENAPI_CHECK, HOMEPORT_OPENAPI, file);
  FILE* check = ::popen(command.c_str(), "r");
  ASSERT_NE(check, nullptr);
  std::string output;
  for (char buffer[4096]; std::size_t size = std::fread(buffer, 1, sizeof buffer, check);) {
    output.append(buffer, size);
  }
  EXPECT_EQ(::pclose(check), 0) << output;
}

TEST(StatusWords, AreThoseOfTheControlDatabase) {
  std::vector<std::string_view> states;
  for (const auto& [state, word] : Names<TaskState>::list) states.emplace_back(word);
  EXPECT_EQ(states, std::vector<std::string_view>(kTaskStates.begin(), kTaskStates.end()));

  std::ifstream file(HOMEPORT_OPENAPI);
  const json::value document = json::parse(std::string(std::istreambuf_iterator<char>(file), {}));
  auto described = [&](const char* pointer) {
    std::vector<std::string> words;
    for (const json::value& word : document.at_pointer(pointer).as_array()) {
      words.emplace_back(word.as_string());
    }
    return words;
  };
  std::vector<std::string> kinds, drivers;
  for (const auto& [kind, word] : Names<TaskKind>::list) kinds.emplace_back(word);
  for (const auto& [driver, word] : Names<Driver>::list) drivers.emplace_back(word);
  EXPECT_EQ(described("/components/schemas/Task/properties/kind/enum"), kinds);
  EXPECT_EQ(described("/components/schemas/Application/properties/driver/enum"), drivers);
}

}  // namespace
}  // namespace homeport::agent
