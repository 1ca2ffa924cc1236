#include "agent/status/metrics.h"

#include "tests/unit/agent/status/fixed_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

namespace homeport::agent {
namespace {

/// A reader of the exposition format that accepts only what this agent should write.
struct Parsed {
  std::map<std::string, std::string> types;    // by family
  std::map<std::string, std::string> samples;  // "name{labels}" -> value
  std::vector<std::string> wrong;              // lines that break a rule
};

Parsed parse(const std::string& text) {
  static const std::regex help("# HELP (homeport_[a-z_]+) \\S.*\\.");
  static const std::regex type("# TYPE (homeport_[a-z_]+) (counter|gauge|summary)");
  static const std::regex sample(
      R"re((homeport_[a-z_]+)(\{(?:[a-z_]+="(?:[^"\\]|\\\\|\\"|\\n)*",?)+\})? (-?[0-9][0-9.e+]*))re");
  Parsed parsed;
  std::string announced;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (std::regex_match(line, match, help)) {
      announced = match[1];
      if (parsed.types.contains(announced)) parsed.wrong.push_back(line);
    } else if (std::regex_match(line, match, type) && match[1] == announced) {
      parsed.types[announced] = match[2];
    } else if (std::regex_match(line, match, sample)) {
      std::string name = match[1];
      std::string family = parsed.types[announced] == "summary"
                               ? std::regex_replace(name, std::regex("_(sum|count)$"), "")
                               : name;
      bool fresh = parsed.samples.emplace(name + std::string(match[2]), match[3]).second;
      if (family != announced || !fresh) parsed.wrong.push_back(line);
    } else {
      parsed.wrong.push_back(line);
    }
  }
  return parsed;
}

class StatusMetrics : public ::testing::Test {
 protected:
  std::string text_ = to_metrics(test::fixed_model());
  Parsed parsed_ = parse(text_);
};

TEST_F(StatusMetrics, FollowTheFormat) {
  EXPECT_THAT(parsed_.wrong, ::testing::IsEmpty());
  EXPECT_TRUE(text_.ends_with('\n'));
}

TEST_F(StatusMetrics, FollowTheNamingConventions) {
  for (const auto& [family, type] : parsed_.types) {
    EXPECT_EQ(family.ends_with("_total"), type == "counter") << family;
    EXPECT_EQ(family.find("_ms"), std::string::npos) << family << ": seconds are the base unit";
  }
}

TEST_F(StatusMetrics, AreAllDescribedInTheDocs) {
  std::ifstream page(HOMEPORT_STATUS_DOC);
  static const std::regex row("\\| `(homeport_[a-z_]+)` \\| ([a-z]+) \\|.*");
  std::map<std::string, std::string> described;
  for (std::string line; std::getline(page, line);) {
    std::smatch match;
    if (std::regex_match(line, match, row)) described[match[1]] = match[2];
  }
  EXPECT_EQ(described, parsed_.types);
}

TEST_F(StatusMetrics, CarryTheValues) {
  const auto& samples = parsed_.samples;
  EXPECT_EQ(samples.at("homeport_build_info{host=\"hostA\",version=\"0.1.0\"}"), "1");
  EXPECT_EQ(samples.at("homeport_start_time_seconds"), "1767225598.25");
  EXPECT_EQ(samples.at("homeport_ready"), "1");
  EXPECT_EQ(samples.at("homeport_database_synchronized"), "1");
  EXPECT_EQ(samples.at("homeport_peer_up{peer=\"hostC\"}"), "0");
  EXPECT_EQ(samples.at("homeport_port_received_bytes_total{application=\"vm1\",binding=\"vm1\"}"),
            "18000000000000000000");
  EXPECT_EQ(samples.at("homeport_datapath_dropped_packets_total{reason=\"unknown_port\"}"), "6");
  EXPECT_EQ(samples.at("homeport_moves_total{outcome=\"rolled-back\"}"), "1");
  EXPECT_EQ(samples.at("homeport_move_downtime_seconds_sum"), "0.25");
  EXPECT_EQ(samples.at("homeport_move_downtime_seconds_count"), "2");
}

TEST_F(StatusMetrics, EscapeLabelValues) {
  EXPECT_THAT(text_, ::testing::HasSubstr(R"(application="a\"b\\c\nd")"));
}

TEST(StatusMetricsOfNothing, AreStillWellFormed) {
  EXPECT_THAT(parse(to_metrics(StatusModel{})).wrong, ::testing::IsEmpty());
}

}  // namespace
}  // namespace homeport::agent
