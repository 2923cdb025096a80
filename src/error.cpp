#include <cachier/error.hpp>

namespace cachier {

std::string_view name_of(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::invalid_argument:
      return "invalid_argument";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::too_large:
      return "too_large";
    case ErrorCode::claim_lost:
      return "claim_lost";
    case ErrorCode::unavailable:
      return "unavailable";
    case ErrorCode::refused:
      return "refused";
    case ErrorCode::deadline_exceeded:
      return "deadline_exceeded";
    case ErrorCode::corrupt:
      return "corrupt";
    case ErrorCode::version_mismatch:
      return "version_mismatch";
    case ErrorCode::untrusted:
      return "untrusted";
    case ErrorCode::internal:
      return "internal";
  }
  return "unknown";
}

Error::Error(ErrorCode code, std::string what, std::string cause, std::string fix)
    : code_(code),
      text_(std::make_shared<const Text>(
          Text{std::move(what), std::move(cause), std::move(fix), nullptr})) {}

std::string_view Error::what() const noexcept {
  return text_ ? std::string_view(text_->what) : name_of(code_);
}

std::string_view Error::cause() const noexcept {
  return text_ ? std::string_view(text_->cause) : std::string_view();
}

std::string_view Error::fix() const noexcept {
  return text_ ? std::string_view(text_->fix) : std::string_view();
}

Error Error::caused_by(std::shared_ptr<const void> origin) const {
  Error caused(code_);
  caused.text_ =
      std::make_shared<const Text>(Text{std::string(what()), std::string(cause()),
                                        std::string(fix()), std::move(origin)});
  return caused;
}

std::shared_ptr<const void> Error::origin() const noexcept {
  return text_ ? text_->origin : nullptr;
}

std::string Error::message() const {
  std::string text(what());
  if (!cause().empty()) text.append("\n  cause: ").append(cause());
  if (!fix().empty()) text.append("\n  fix:   ").append(fix());
  return text;
}

}  // namespace cachier
