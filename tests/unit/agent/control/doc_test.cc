// docs/control-database.md against the schema and a server, docs/controllers.md against the
// programs that the lab runs.
#include "agent/control/tables.h"
#include "tests/unit/overlay/ovsdb/test_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/json/parse.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace homeport::agent {
namespace {

namespace json = boost::json;
using testing::HasSubstr;
using testing::Not;

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

json::object schema_tables() {
  return json::parse(read_file(HOMEPORT_SCHEMA)).at("tables").as_object();
}

/// "### TABLE" headings to the columns that are list items below them.
std::map<std::string, std::set<std::string>> described() {
  std::map<std::string, std::set<std::string>> found;
  std::istringstream text(read_file(HOMEPORT_DOC));
  std::string table;
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("## ")) table.clear();
    if (line.starts_with("### ")) table = line.substr(4);
    if (!line.starts_with("- `") || table.empty()) continue;
    auto end = line.find("`: ");
    if (end != line.npos) found[table].insert(line.substr(3, end - 3));
  }
  return found;
}

TEST(DocTest, DescribesEveryColumnAndNoOther) {
  auto doc = described();
  for (const auto& [name, table] : schema_tables()) {
    std::set<std::string> columns;
    for (const auto& [column, type] : table.at("columns").as_object()) columns.emplace(column);
    EXPECT_EQ(doc[std::string(name)], columns) << "table " << std::string_view(name);
    doc.erase(std::string(name));
  }
  EXPECT_TRUE(doc.empty()) << "the page describes " << doc.begin()->first;
}

TEST(DocTest, GivesCommandsThatWork) {
  test::TestServer server;
  setenv("DB", server.remote().c_str(), 1);
  auto text = read_file(HOMEPORT_DOC);
  std::vector<std::string> outputs;
  for (auto begin = text.find("```sh\n"); begin != text.npos; begin = text.find("```sh\n", begin)) {
    begin += 6;
    auto end = text.find("```", begin);
    auto done = test::run_command({"sh", "-euc", text.substr(begin, end - begin)});
    EXPECT_EQ(done.status, 0) << done.text;
    EXPECT_THAT(done.text, Not(HasSubstr("\"error\""))) << text.substr(begin, end - begin);
    outputs.push_back(done.text);
    begin = end;
  }
  ASSERT_EQ(outputs.size(), 4u);
  EXPECT_THAT(outputs.back(), HasSubstr(R"("location":"h2")"));
  EXPECT_THAT(outputs.back(), HasSubstr(R"("generation":1)"));
}

TEST(DocTest, ShowsTheControllersThatTheLabRuns) {
  const std::filesystem::path docs = std::filesystem::path(HOMEPORT_DOC).parent_path();
  const auto text = read_file(docs / "controllers.md");
  int shown = 0;
  for (const auto& file : std::filesystem::directory_iterator(docs / "controllers")) {
    const auto program = read_file(file.path());
    EXPECT_TRUE(text.find("\n" + program + "```\n") != text.npos)
        << file.path() << " is not what docs/controllers.md shows: put it there again";
    ++shown;
  }
  EXPECT_EQ(shown, 3);
}

/// The columns that each record writes are the schema's, but for those of the other side.
TEST(SchemaTest, HasTheColumnsThatRecordsWrite) {
  auto tables = schema_tables();
  auto missing = [&](const char* table, const json::object& written) {
    std::set<std::string> left;
    for (const auto& [column, type] : tables.at(table).at("columns").as_object()) {
      if (!written.contains(column)) left.emplace(column);
    }
    for (const auto& [column, value] : written) {
      EXPECT_TRUE(tables.at(table).at("columns").as_object().contains(column)) << column;
    }
    return left;
  };
  EXPECT_THAT(missing("Host", columns(Host{})), testing::IsEmpty());
  EXPECT_THAT(missing("Host_Status", columns(HostStatus{})), testing::IsEmpty());
  EXPECT_THAT(missing("Interface", columns(Interface{})),
              testing::UnorderedElementsAre("cost", "label", "allowed", "bulk_limit_mbps"));
  EXPECT_THAT(missing("Network", columns(Network{})), testing::IsEmpty());
  EXPECT_THAT(missing("Binding", columns(Binding{})), testing::IsEmpty());
  EXPECT_THAT(missing("Application", columns(Application{})), testing::IsEmpty());
  EXPECT_THAT(missing("Policy", columns(Policy{})), testing::IsEmpty());
  EXPECT_THAT(missing("Path_Policy", columns(PathPolicyRow{})), testing::IsEmpty());
  EXPECT_THAT(missing("Task", columns(Task{})), testing::IsEmpty());
  EXPECT_THAT(missing("Task_Status", columns(TaskStatus{})), testing::IsEmpty());
}

}  // namespace
}  // namespace homeport::agent
