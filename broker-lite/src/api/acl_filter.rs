//! Filters of DescribeAcls and DeleteAcls, as the wire has them.

use kafka_protocol::{
    messages::{DescribeAclsRequest, delete_acls_request::DeleteAclsFilter},
    protocol::StrBytes,
};

use super::create_acls::{ALLOW, DENY, LITERAL, PREFIXED};
use crate::security::acl::{Acl, Filter, Operation, PatternFilter, Resource};

/// The parts of a filter: numbers, and texts or null.
struct Parts<'a> {
    resource: i8,
    name: Option<&'a StrBytes>,
    kind: i8,
    principal: Option<&'a StrBytes>,
    host: Option<&'a StrBytes>,
    operation: i8,
    permission: i8,
}

impl Parts<'_> {
    /// What is no number of a kind stands for any (1); 0 was refused before.
    fn filter(&self) -> Filter {
        let text = |text: Option<&StrBytes>| text.map(ToString::to_string);
        Filter {
            resource: Resource::from_number(self.resource),
            name: text(self.name),
            kind: match self.kind {
                2 => PatternFilter::Match,
                LITERAL => PatternFilter::Literal,
                PREFIXED => PatternFilter::Prefixed,
                _ => PatternFilter::Any,
            },
            principal: text(self.principal),
            host: text(self.host),
            operation: Operation::from_number(self.operation),
            allows: match self.permission {
                DENY => Some(false),
                ALLOW => Some(true),
                _ => None,
            },
        }
    }
}

pub(super) fn of_description(request: &DescribeAclsRequest) -> Filter {
    let parts = Parts {
        resource: request.resource_type_filter,
        name: request.resource_name_filter.as_ref(),
        kind: request.pattern_type_filter,
        principal: request.principal_filter.as_ref(),
        host: request.host_filter.as_ref(),
        operation: request.operation,
        permission: request.permission_type,
    };
    parts.filter()
}

pub(super) fn of_deletion(filter: &DeleteAclsFilter) -> Filter {
    let parts = Parts {
        resource: filter.resource_type_filter,
        name: filter.resource_name_filter.as_ref(),
        kind: filter.pattern_type_filter,
        principal: filter.principal_filter.as_ref(),
        host: filter.host_filter.as_ref(),
        operation: filter.operation,
        permission: filter.permission_type,
    };
    parts.filter()
}

/// The number of a rule's kind of pattern.
pub(super) fn kind(acl: &Acl) -> i8 {
    match acl.pattern.is_prefix {
        true => PREFIXED,
        false => LITERAL,
    }
}

/// The number of a rule's permission.
pub(super) fn permission(acl: &Acl) -> i8 {
    match acl.entry.allows {
        true => ALLOW,
        false => DENY,
    }
}

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
