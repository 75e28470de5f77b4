//! Every reading of the FIRST LINE documents that it leaves open, as a switch of the simulation.
//!
//! A default follows the documents where they speak and the likelier reading where they do not. Names and
//! descriptions are written once, in the table below: the struct, its defaults and [`SWITCHES`] come from it.

use serde::{Deserialize, Serialize};

macro_rules! choices {
    ($($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$variant_meta])* $variant),* }
    )*};
}

choices! {
    /// What a login says about the life of its token.
    ExpiresIn {
        /// `expires_in` counts seconds.
        #[default] Seconds,
        /// `expires_in` counts milliseconds.
        Milliseconds,
        /// The token is opaque; `expires_in` counts seconds.
        OpaqueToken,
    }
    /// What a request without `Accept: application/json` gets.
    NoAccept {
        /// A page for people, under 200.
        #[default] Html,
        /// A redirect to a login page.
        Redirect,
        /// The same as any other request.
        Json,
    }
    /// Where `_method=put` is looked for.
    MethodOverride {
        /// In the JSON body.
        Body,
        /// In the query string.
        Query,
        /// In both.
        #[default] Both,
        /// Nowhere.
        Nowhere,
    }
    /// What an array of ids does on an update.
    ListSync {
        /// It becomes the whole list.
        #[default] Replace,
        /// It is added to the list.
        Union,
    }
    /// What `tag_ids` does on a create.
    TagsOnCreate {
        /// Nothing.
        #[default] Ignored,
        /// The tags are set.
        Accepted,
        /// 422.
        Rejected,
    }
    /// `links` of a list.
    Links {
        /// With the host of the request.
        #[default] Present,
        /// Not there.
        Absent,
        /// Pointing to another host.
        Foreign,
    }
    /// What a `per_page` above the maximum gets.
    PerPageAbove {
        /// The maximum.
        #[default] Clamp,
        /// The default of 15.
        Ignore,
        /// 422.
        Reject,
    }
    /// Order of the contact list.
    Sort {
        /// Oldest id first.
        #[default] IdAsc,
        /// Newest id first.
        IdDesc,
        /// Latest update first.
        Updated,
        /// By the second of creation; equal seconds come in another order on every request.
        UnstableTies,
    }
    /// Columns without a value.
    UnsetColumns {
        /// `{id, value: null}` for each.
        #[default] Null,
        /// Not mentioned.
        LeftOut,
    }
    /// How a contact names its tags.
    TagsShown {
        /// `tags: [{id, name, description}]`.
        #[default] Tags,
        /// `tag_ids: [id]`.
        TagIds,
        /// `tag_id: [id]`.
        TagId,
        /// Not at all.
        LeftOut,
    }
    /// Which answers about a contact name its tags and companies.
    ListsShownIn {
        /// All.
        #[default] Everywhere,
        /// Those to a create and to an update alone.
        Writes,
        /// Rows of the contact list alone.
        Rows,
        /// Reads of one contact alone.
        Reads,
    }
    /// What becomes of a tag's name when it is stored.
    TagNames {
        /// Nothing.
        #[default] AsSent,
        /// Capitals become small letters.
        LowerCase,
        /// Spaces at the ends go, several become one.
        Squeezed,
        /// Only the first eight characters are kept.
        Cut,
    }
    /// `created_at` and `updated_at` of a contact.
    TimesShown {
        /// Not there (the documented object has none).
        #[default] LeftOut,
        /// ISO 8601 with `Z`.
        Iso,
        /// Taiwan local time without a zone.
        Local,
    }
    /// How a filter compares.
    FilterMode {
        /// The whole value.
        #[default] Exact,
        /// The beginning of the value.
        Prefix,
        /// Any part of the value.
        #[serde(alias = "fuzzy")] Substring,
        /// Not at all: the answer is the unfiltered list.
        Ignored,
        /// 422.
        Rejected,
    }
    /// Which form of the `cz_cols` filter works. A form that does not is ignored.
    ColumnFilter {
        /// `cz_cols[0][id]=..`.
        #[default] Brackets,
        /// `cz_cols=[{..}]`.
        Json,
        /// Both forms.
        Both,
        /// None.
        Ignored,
        /// None, with 422.
        Rejected,
    }
    /// How strictly types are checked.
    Types {
        /// Numbers must be JSON numbers, dates must be dates.
        #[default] Strict,
        /// Anything is stored.
        Lenient,
    }
    /// JSON form of a boolean column under strict types.
    BooleanForm {
        /// 0, 1, true, false.
        #[default] Any,
        /// 0 and 1.
        Number,
        /// true and false.
        Bool,
        /// "1" and "0".
        Text,
    }
    /// How a value is cleared.
    ClearBy {
        /// By null and by empty text.
        #[default] Both,
        /// By null; empty text is stored.
        Null,
        /// By empty text; null is a 422.
        EmptyText,
        /// By neither: both are a 422. Where an update replaces, leaving it out still does.
        Neither,
    }
    /// Body of a refusal.
    ErrorBody {
        /// `{message, errors: {field: [text]}}`.
        #[default] Laravel,
        /// Plain text.
        Text,
        /// `{error}`.
        Error,
        /// A page.
        Html,
        /// `{message}` without `errors`.
        Message,
        /// Nothing.
        Empty,
    }
    /// Which key names the owner of a phone.
    PhoneOwner {
        /// `contact_id`.
        #[default] ContactId,
        /// `profile_id`; a body without it is a 422 that names it.
        ProfileId,
    }
    /// Which phone numbers are accepted.
    PhoneCheck {
        /// Any text.
        #[default] Any,
        /// Digits only.
        Digits,
        /// Taiwanese national numbers only.
        Taiwan,
    }
}

macro_rules! switches {
    ($($name:ident: $kind:ty = $default:expr, $doc:literal;)*) => {
        /// The readings in force. Every key may be left out; an unknown key is refused.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct FirstLineSwitches { $(#[doc = $doc] pub $name: $kind,)* }

        impl Default for FirstLineSwitches {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        /// Name and one-line description of every switch.
        pub const SWITCHES: &[(&str, &str)] = &[$((stringify!($name), $doc),)*];
    };
}

switches! {
    tokens: Vec<String> = vec!["sandbox-token".to_owned()], "permanent tokens that are accepted";
    login_name: String = "ferry".to_owned(), "name that can log in";
    login_password: String = "sandbox-password".to_owned(), "its password";
    token_ttl_seconds: Option<i64> = None, "life of a login's token, whatever ttl the login asks for";
    expires_in: ExpiresIn = ExpiresIn::Seconds, "seconds | milliseconds | opaque_token: what a login says of its token's life";
    login_kills_permanent: bool = false, "whether a login also kills the permanent tokens";
    auth_status: u16 = 401, "status of a missing, wrong or expired token (401, 403 or 419)";
    no_accept: NoAccept = NoAccept::Html, "html | redirect | json: what a request without Accept: application/json gets";
    update_put: bool = false, "whether a real PUT works (else 405)";
    update_override: MethodOverride = MethodOverride::Both, "body | query | both | nowhere: where _method=put is looked for";
    update_replaces: bool = false, "an update resets fields it leaves out, cz_cols too";
    put_replaces: bool = false, "a real PUT resets fields it leaves out, whatever an update by POST does";
    update_replaces_cz_cols: bool = false, "an update with cz_cols drops the columns it leaves out";
    update_resets_lists: bool = false, "an update without tag_ids, or without company_ids, takes away all of them";
    tags_on_update: ListSync = ListSync::Replace, "replace | union: tag_ids on update";
    tags_on_create: TagsOnCreate = TagsOnCreate::Ignored, "ignored | accepted | rejected: tag_ids on create";
    companies_on_update: ListSync = ListSync::Replace, "replace | union: company_ids on update";
    links: Links = Links::Present, "present | absent | foreign: links of a list";
    per_page_max: u64 = 100, "largest per_page";
    per_page_above: PerPageAbove = PerPageAbove::Clamp, "clamp | ignore | reject: a per_page above the largest";
    per_page_as_text: bool = false, "meta.per_page is text";
    total_left_out: bool = false, "meta has no total";
    meta_left_out: bool = false, "a list has no meta";
    sort: Sort = Sort::IdAsc, "id_asc | id_desc | updated | unstable_ties: order of the contact list";
    list_omits_cz_cols: bool = false, "rows of the contact list have no cz_cols";
    list_omits_children: bool = false, "rows of the contact list have no email_contacts and no profile";
    get_omits_children: bool = false, "a contact read by id has no email_contacts and no profile";
    child_total_offset: usize = 0, "the whole lists of e-mails and phones count so many rows more than they show";
    email_rows_name_contact: bool = true, "e-mail rows name their contact";
    unset_cz_cols: UnsetColumns = UnsetColumns::Null, "null | left_out: columns without a value";
    nulls_left_out: bool = false, "a contact leaves out keys that hold null or an empty list";
    unreadable_ids: Vec<u64> = Vec::new(), "contacts whose read by id is refused (422)";
    numbers_as_text: bool = true, "numbers and booleans in cz_cols come back as text";
    birth_at_with_time: bool = false, "birth_at comes back with a zero time";
    tags_shown: TagsShown = TagsShown::Tags, "tags | tag_ids | tag_id | left_out: how a contact names its tags";
    lists_shown_in: ListsShownIn = ListsShownIn::Everywhere, "everywhere | writes | rows | reads: which answers name a contact's tags and companies";
    times_shown: TimesShown = TimesShown::LeftOut, "left_out | iso | local: created_at and updated_at of a contact";
    companies_shown: bool = false, "a contact names its companies";
    cjk_name_joined: bool = false, "name joins Chinese names without a space";
    list_empty: bool = false, "the list of contacts is empty, with a total of 0, whatever it is asked for";
    hidden_share: f64 = 0.0, "share of the contacts made by others that the role cannot see (0 to 1)";
    filter_membership_no: FilterMode = FilterMode::Exact, "exact | prefix | substring | ignored | rejected: contacts by membership_no";
    filter_cz_cols: ColumnFilter = ColumnFilter::Brackets, "brackets | json | both | ignored | rejected: contacts by cz_cols";
    filter_email: FilterMode = FilterMode::Exact, "exact | prefix | substring | ignored | rejected: contacts by email";
    filter_phone_number: FilterMode = FilterMode::Exact, "exact | prefix | substring | ignored | rejected: contacts by phone_number";
    filter_name: FilterMode = FilterMode::Prefix, "exact | prefix | substring | ignored | rejected: contacts by name";
    filter_search: FilterMode = FilterMode::Substring, "exact | prefix | substring | ignored | rejected: contacts by search";
    filter_id: FilterMode = FilterMode::Exact, "exact | ignored | rejected: contacts by id";
    filter_created_at: FilterMode = FilterMode::Exact, "exact | ignored | rejected: contacts by created_at and updated_at";
    filter_others: FilterMode = FilterMode::Exact, "exact | ignored | rejected: contacts by any other documented filter";
    filter_address: FilterMode = FilterMode::Exact, "exact | prefix | substring | ignored | rejected: e-mail rows by address";
    filter_number: FilterMode = FilterMode::Exact, "exact | prefix | substring | ignored | rejected: phone rows by number";
    filter_contact_id: FilterMode = FilterMode::Exact, "exact | ignored | rejected: e-mail and phone rows by contact_id";
    exact_ignores_case: bool = true, "an exact filter and a unique check ignore case";
    search_lag_ms: i64 = 0, "a filtered answer does not see writes younger than this";
    search_lag_writes: u64 = 0, "a filtered answer does not see the last writes, this many";
    list_lag_ms: i64 = 0, "an unfiltered list does not see writes younger than this";
    list_lag_writes: u64 = 0, "an unfiltered list does not see the last writes, this many";
    get_lag_ms: i64 = 0, "a read by id does not see writes younger than this";
    get_lag_writes: u64 = 0, "a read by id does not see the last writes, this many";
    types: Types = Types::Strict, "strict | lenient: checking of types in a body";
    boolean_form: BooleanForm = BooleanForm::Any, "any | number | bool | text: JSON form of a boolean column";
    options_checked: bool = true, "a choice outside the options is a 422";
    required_columns: bool = false, "a create must hold every column that does not allow null";
    clear_by: ClearBy = ClearBy::Both, "both | null | empty_text | neither: how a value is cleared";
    name_max: usize = 255, "longest standard text field";
    membership_no_max: Option<usize> = None, "longest membership_no";
    cz_text_max: Option<usize> = None, "longest text column";
    membership_no_unique: bool = false, "a second contact with a membership_no is a 422";
    email_unique: bool = false, "a second row with an address is a 422";
    phone_unique: bool = false, "a second row with a number is a 422";
    tag_names: TagNames = TagNames::AsSent, "as_sent | lower_case | squeezed | cut: how a tag's name is stored";
    tag_name_unique: bool = false, "a second tag with a name is a 422";
    create_status: u16 = 201, "status of a create (200 or 201)";
    create_omits_id: bool = false, "the answer to a create has no id";
    create_answers_id: Option<u64> = None, "the answer to a contact's create names this id, whatever was made";
    write_omits_cz_cols: bool = false, "the answer to a write has no cz_cols";
    write_omits_children: bool = false, "the answer to a write has no email_contacts and no profile";
    delete_contact_status: u16 = 200, "status of a contact's deletion (200 with a body, 204, or a refusal such as 403)";
    error_body: ErrorBody = ErrorBody::Laravel, "laravel | text | error | html | message | empty: body of a refusal";
    id_start: u64 = 1001, "first contact id";
    id_gap: u64 = 0, "contact ids skip up to this many, at random";
    email_check: bool = true, "an address must look like one";
    email_stored_lowercase: bool = false, "addresses are stored in lower case";
    phone_owner: PhoneOwner = PhoneOwner::ContactId, "contact_id | profile_id: what a phone's body must name";
    phone_check: PhoneCheck = PhoneCheck::Any, "any | digits | taiwan: which numbers are accepted";
    phone_stored_national: bool = false, "+886 numbers are stored in their national form";
    phone_rows_name_contact: bool = true, "phone rows hold phone_contact";
    cz_col_omits_options: bool = true, "/cz-col has no options (/cz-col-category always has)";
    role_reads_only: bool = false, "every write is refused (403), as to a role that may only read";
    company_missing: bool = false, "an old tenant: /company is a 404";
    tags_missing: bool = false, "the list of tags is a 404";
}
