// The answer to one request, without a connection.
#include "agent/status/reply.h"
#include "agent/status/routes.h"
#include "tests/unit/agent/status/fixed_model.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/beast/http/write.hpp>
#include <boost/json.hpp>

#include <sstream>

namespace homeport::agent {
namespace {

namespace http = boost::beast::http;
namespace json = boost::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class StatusRequests : public ::testing::Test {
 protected:
  StatusResponse ask(std::string_view target, http::verb method = http::verb::get,
                     const std::vector<std::pair<std::string, std::string>>& fields = {}) {
    StatusRequest request(method, target, 11);
    request.set(http::field::host, "localhost");
    for (const auto& [name, value] : fields) request.insert(name, value);
    return reply_to(request, true, [this](const StatusWanted&) { return model_; }).response;
  }

  json::value body(std::string_view target) {
    StatusResponse response = ask(target);
    EXPECT_EQ(response.result(), http::status::ok) << target << ": " << response.body();
    return json::parse(response.body());
  }

  /// The members `key` of a page's items.
  static std::vector<std::string> column(const json::value& page, std::string_view list,
                                         std::string_view key) {
    std::vector<std::string> values;
    for (const json::value& item : page.at(list).as_array()) {
      values.emplace_back(item.at(key).as_string());
    }
    return values;
  }

  std::vector<std::string> names(std::string_view target) {
    return column(body(target), "applications", "name");
  }

  void put_applications(std::size_t count) {
    model_.applications.clear();
    for (std::size_t i = count; i > 0; --i) {  // in no order to rely on
      model_.applications.push_back({fmt::format("vm{:04}", i - 1),
                                     "qemu",
                                     i % 2 == 0 ? "hostA" : "hostB",
                                     i,
                                     i % 2 == 0 ? "running" : "remote",
                                     {}});
    }
  }

  StatusModel model_ = test::fixed_model();
};

TEST_F(StatusRequests, PagesFollowEachOtherToTheEnd) {
  put_applications(5);
  std::vector<std::vector<std::string>> pages;
  json::value next;
  std::string target = "/v1/applications?limit=2";
  do {
    const json::value page = body(target);
    pages.push_back(column(page, "applications", "name"));
    next = page.at("next");
    if (!next.is_null()) {
      target = fmt::format("/v1/applications?limit=2&after={}", next.as_string().c_str());
    }
  } while (!next.is_null() && pages.size() < 10);
  EXPECT_THAT(pages, ElementsAre(ElementsAre("vm0000", "vm0001"), ElementsAre("vm0002", "vm0003"),
                                 ElementsAre("vm0004")));
}

TEST_F(StatusRequests, APageThatEndsWithTheListIsTheLast) {
  put_applications(4);
  EXPECT_TRUE(body("/v1/applications?limit=4").at("next").is_null());
  EXPECT_TRUE(body("/v1/applications?after=vm0003").at("next").is_null());
  EXPECT_THAT(names("/v1/applications?after=vm0003"), IsEmpty());
  EXPECT_THAT(names("/v1/applications?after=vm0001x"), ElementsAre("vm0002", "vm0003"))
      << "what the page before ended with may be gone";
}

TEST_F(StatusRequests, NoPageIsLongerThanAThousand) {
  put_applications(kPageMax + 1);
  const json::value first = body("/v1/applications");
  EXPECT_EQ(first.at("applications").as_array().size(), kPageMax);
  EXPECT_EQ(first.at("next"), "vm0999");
  EXPECT_THAT(names("/v1/applications?after=vm0999"), ElementsAre("vm1000"));
}

TEST_F(StatusRequests, FiltersChooseAndGoTogetherWithPages) {
  put_applications(4);
  EXPECT_THAT(names("/v1/applications?state=running"), ElementsAre("vm0001", "vm0003"));
  EXPECT_THAT(names("/v1/applications?location=hostB"), ElementsAre("vm0000", "vm0002"));
  EXPECT_THAT(names("/v1/applications?location=hostB&state=running"), IsEmpty());
  EXPECT_THAT(names("/v1/applications?location=host%42&limit=1&after=vm0000"),
              ElementsAre("vm0002"));
  EXPECT_TRUE(body("/v1/applications?state=remote&limit=2").at("next").is_null())
      << "what is not chosen does not count";

  model_.tasks.push_back(model_.tasks.front());
  model_.tasks.back().id = "0";
  model_.tasks.back().state = "failed";
  model_.tasks.back().application = "vm2";
  auto ids = [&](std::string_view target) { return column(body(target), "tasks", "id"); };
  EXPECT_THAT(ids("/v1/tasks?limit=1"), ElementsAre("0"));
  EXPECT_THAT(ids("/v1/tasks?state=failed"), ElementsAre("0"));
  EXPECT_THAT(ids("/v1/tasks?application=vm2"), ElementsAre("0"));
  EXPECT_THAT(ids("/v1/tasks?application=vm1&after=0"), ElementsAre(model_.tasks.front().id));
}

TEST_F(StatusRequests, WrongParametersAreRefusedWithAReason) {
  const std::pair<const char*, const char*> wrong[] = {
      {"/v1/status?pretty=1", "This path has no parameters."},
      {"/healthz?limit=1", "This path has no parameters."},
      {"/v1/tasks/x?state=running", "This path has no parameters."},
      {"/v1/tasks?location=hostA", "are limit, after, state, application."},
      {"/v1/applications?Limit=1", "are limit, after, state, location."},
      {"/v1/tasks?&", "are limit, after, state, application."},
      {"/v1/tasks?=1", "are limit, after, state, application."},
      {"/v1/tasks?limit", "limit is empty"},
      {"/v1/tasks?limit=", "limit is empty"},
      {"/v1/tasks?after=", "after is empty"},
      {"/v1/tasks?limit=0", "limit is a number from 1 to 1000"},
      {"/v1/tasks?limit=1001", "limit is a number from 1 to 1000"},
      {"/v1/tasks?limit=-1", "limit is a number from 1 to 1000"},
      {"/v1/tasks?limit=1e2", "limit is a number from 1 to 1000"},
      {"/v1/tasks?limit=%31%20", "limit is a number from 1 to 1000"},
      {"/v1/tasks?limit=99999999999999999999999", "limit is a number from 1 to 1000"},
      {"/v1/tasks?limit=1&limit=1", "limit is given more than once"},
      {"/v1/tasks?limit=1&l%69mit=2", "limit is given more than once"},
      {"/v1/tasks?state=lost", "state is one of running, succeeded, failed"},
      {"/v1/tasks?state=running%00", "state is one of running, succeeded, failed"},
      {"/v1/applications?state=failed", "state is one of running, stopped"}};
  for (const auto& [target, reason] : wrong) {
    SCOPED_TRACE(target);
    StatusResponse response = ask(target);
    EXPECT_EQ(response.result(), http::status::bad_request);
    EXPECT_EQ(response[http::field::content_type], "application/problem+json");
    EXPECT_THAT(response.body(), HasSubstr(reason));
  }
  EXPECT_EQ(ask("/v1/tasks?").result(), http::status::ok) << "an empty query is none";
  EXPECT_EQ(ask("/v1/tasks?l%69mit=%31").result(), http::status::ok);
}

TEST_F(StatusRequests, TheTargetMayBeAWholeUri) {
  EXPECT_EQ(ask("http://localhost:8480/healthz").result(), http::status::ok);
  EXPECT_EQ(ask("http://[::1]/v1/tasks?limit=1").result(), http::status::ok);
  EXPECT_EQ(ask("http://evil.example/healthz").result(), http::status::misdirected_request);
  EXPECT_EQ(ask("http://localhost@evil.example/healthz").result(),
            http::status::misdirected_request);
  EXPECT_EQ(ask("//evil.example/healthz").result(), http::status::not_found);
  for (const char* target : {"https://localhost/healthz", "file:///healthz", "localhost:80", "*",
                             "", "healthz", "/healthz#x", "/a b", "/%", "/%f", "/\x80"}) {
    EXPECT_EQ(ask(target).result(), http::status::bad_request) << target;
  }
}

TEST_F(StatusRequests, AMethodIsRefusedOnlyWhereThereIsSomething) {
  EXPECT_EQ(ask("/v1/tasks", http::verb::post).result(), http::status::method_not_allowed);
  EXPECT_EQ(ask("/v1/tasks", http::verb::post)[http::field::allow], "GET, HEAD");
  EXPECT_EQ(ask("/nothing", http::verb::post).result(), http::status::not_found);
  EXPECT_EQ(ask("/v1/tasks?x=1", http::verb::delete_).result(), http::status::method_not_allowed);
}

TEST_F(StatusRequests, AnEntityTagSavesTheSameAnswer) {
  for (const StatusRoute& route : status_routes()) {
    if (route.events || !route.answer || route.path.ends_with('}')) continue;
    SCOPED_TRACE(route.path);
    const StatusResponse first = ask(route.path);
    const std::string etag(first[http::field::etag]);
    ASSERT_THAT(etag, ::testing::MatchesRegex("\"[0-9a-f]{32}\""));
    for (const std::string& tags : {etag, "W/" + etag, "\"other\", " + etag, std::string("*")}) {
      const StatusResponse again = ask(route.path, http::verb::get, {{"If-None-Match", tags}});
      EXPECT_EQ(again.result(), http::status::not_modified) << tags;
      EXPECT_EQ(again[http::field::etag], etag);
      EXPECT_EQ(again.body(), "");
      EXPECT_EQ(again.count(http::field::content_length), 0u);
    }
    for (const std::string& tags :
         {etag.substr(1), std::string("\"\""), std::string("\"other\"")}) {
      EXPECT_EQ(ask(route.path, http::verb::get, {{"If-None-Match", tags}}).body(), first.body());
    }
    EXPECT_EQ(
        ask(route.path, http::verb::get, {{"If-None-Match", "\"other\""}, {"If-None-Match", etag}})
            .result(),
        http::status::not_modified);
    EXPECT_EQ(ask(route.path, http::verb::head)[http::field::etag], etag);
    EXPECT_EQ(ask(route.path, http::verb::head, {{"If-None-Match", etag}}).result(),
              http::status::not_modified);
  }
}

TEST_F(StatusRequests, AChangeChangesTheEntityTag) {
  const std::string before(ask("/v1/tasks")[http::field::etag]);
  const std::string others(ask("/v1/applications")[http::field::etag]);
  ++model_.tasks.front().bytes_sent;
  EXPECT_EQ(ask("/v1/tasks", http::verb::get, {{"If-None-Match", before}}).result(),
            http::status::ok);
  EXPECT_EQ(ask("/v1/applications", http::verb::get, {{"If-None-Match", others}}).result(),
            http::status::not_modified);
}

TEST_F(StatusRequests, ProblemsAreNotKept) {
  for (const char* target : {"/nothing", "/v1/tasks?x=1", "/v1/tasks/x"}) {
    const StatusResponse response = ask(target, http::verb::get, {{"If-None-Match", "*"}});
    EXPECT_NE(response.result(), http::status::not_modified);
    EXPECT_EQ(response.count(http::field::etag), 0u);
    EXPECT_EQ(response[http::field::cache_control], "no-store");
  }
}

TEST_F(StatusRequests, NothingOfTheRequestIsEchoed) {
  std::vector<StatusResponse> responses;
  for (const char* target :
       {"/echo<script>", "/v1/tasks/echo", "/v1/applications/%22%3Cecho%ff", "/v1/tasks?echo=1",
        "/v1/tasks?limit=echo", "/v1/tasks?state=echo", "/v1/tasks?after=echo", "http://echo/",
        "/%0d%0aecho:%20x", "/v1/applications/echo%0d%0aSet-Cookie:%20echo"}) {
    responses.push_back(ask(target));
  }
  responses.push_back(ask("/v1/tasks", http::verb::get, {{"If-None-Match", "\"echo\""}}));
  responses.push_back(ask("/v1/tasks", http::verb::get, {{"Origin", "http://echo"}}));
  StatusRequest request(http::verb::get, "/", 11);
  request.set(http::field::host, "echo");
  request.method_string("ECHO");
  responses.push_back(
      reply_to(request, true, [this](const StatusWanted&) { return model_; }).response);
  request.set(http::field::host, "localhost");
  request.target("/healthz");
  responses.push_back(
      reply_to(request, true, [this](const StatusWanted&) { return model_; }).response);
  EXPECT_EQ(responses.back().result(), http::status::method_not_allowed);
  for (const StatusResponse& response : responses) {
    std::ostringstream stream;
    stream << response;
    const std::string text = stream.str();
    EXPECT_EQ(text.find("echo"), text.npos) << text;
    EXPECT_EQ(text.find("ECHO"), text.npos) << text;
  }
}

TEST_F(StatusRequests, EventsAreForGetOnly) {
  StatusRequest request(http::verb::get, "/v1/events", 11);
  request.set(http::field::host, "localhost");
  auto reply = [&] {
    return reply_to(request, true, [](const StatusWanted&) -> StatusModel {
      ADD_FAILURE() << "a snapshot";
      return {};
    });
  };
  EXPECT_TRUE(reply().events);
  EXPECT_FALSE(reply().response.keep_alive());
  EXPECT_EQ(reply().response.count(http::field::content_length), 0u);
  request.method(http::verb::head);
  EXPECT_FALSE(reply().events);
  EXPECT_EQ(reply().response[http::field::content_type], "text/event-stream");
}

}  // namespace
}  // namespace homeport::agent
